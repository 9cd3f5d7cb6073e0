# SPDX-License-Identifier: MIT
"""Differences between the releases of PetaLinux that the test double models.

Until 2023.2 the commands are bash scripts below `tools/common/petalinux/bin`; from 2024.1 on they
are Python scripts below `scripts`, which AMD publishes as github.com/Xilinx/PetaLinux (MIT). Names
of installers: AMD's download pages. Yocto series: release notes of meta-xilinx.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One release: its installer's build number, the style of its commands, its Yocto and kernel."""

    version: str
    build: str
    python: bool
    series: str
    kernel: str
    platforms: tuple[str, ...]
    skip_license: tuple[str, ...]

    @property
    def installer(self) -> str:
        return f"petalinux-v{self.version}-{self.build}-installer.run"

    @property
    def kernel_release(self) -> str:
        return f"{self.kernel}-xilinx-v{self.version}"


_BASH = ("-y", "--skip_license")
_PYTHON = ("-y",)
_LITE = ("aarch64", "arm", "microblaze_lite", "microblaze_full")
_FULL = ("aarch64", "arm", "microblaze")

RELEASES = {
    release.version: release
    for release in (
        Release("2022.1", "04191534", False, "honister", "5.15.19", _LITE, _BASH),
        Release("2022.2", "10141622", False, "honister", "5.15.36", _LITE, _BASH),
        Release("2023.1", "05012318", False, "langdale", "6.1.5", _LITE, _BASH),
        Release("2023.2", "10121855", False, "langdale", "6.1.30", _LITE, _BASH),
        Release("2024.1", "05202009", True, "langdale", "6.6.10", _FULL, _PYTHON),
        Release("2024.2", "11062026", True, "scarthgap", "6.6.40", _FULL, _PYTHON),
    )
}
