# SPDX-License-Identifier: MIT
"""Trusted Firmware-A, the secure monitor of 64-bit boards."""

from __future__ import annotations

from collections.abc import Mapping

from builder.bsp.mainline.kbuild import unpack
from builder.bsp.soc import Family
from builder.steps.step import Job, Step

NEED = 1 << 28
"""Disk space in bytes for the sources and objects."""

# E=0, --no-fatal-warnings: compilers and linkers that are newer than the sources have new warnings,
# which are errors by default. max-page-size: with ld's default of 64 KiB, the first segment of the
# ELF file begins at 0xfffe0000, inside the first stage that loads it; BL31 is linked to 0xfffea000.
_FLAGS = ("E=0", "LDFLAGS=--no-fatal-warnings -z max-page-size=4096")


class TrustedFirmware(Step):
    """Step that builds `bl31.elf` and its memory image, `bl31.bin`.

    The firmware prints to the first UART (ZYNQMP_CONSOLE=cadence), whatever the board's console is.
    """

    wide = True

    def __init__(self, family: Family, platform: str, *, source: Step) -> None:
        parents = {"trusted-firmware-source": source}
        super().__init__("trusted-firmware", scope=family.soc.value, parents=parents)
        self.packages = ("make", "patch", family.compiler)
        self.family = family
        self.platform = platform

    def settings(self) -> Mapping[str, object]:
        return {"platform": self.platform}

    def run(self, job: Job) -> None:
        programs = self.family.compilers
        with job.compiler_workspace("trusted-firmware", programs, need=NEED) as (
            workspace,
            compilers,
        ):
            source = workspace.directory / "source"
            epoch = unpack(job, workspace, job.input("trusted-firmware-source"), source)
            job.run(
                workspace,
                *("make", f"-j{job.tools.jobs}", "-C", source, f"PLAT={self.platform}", "DEBUG=0"),
                # BUILD_STRING replaces the output of git; the time comes from SOURCE_DATE_EPOCH.
                *("BUILD_STRING=builder", *_FLAGS, "bl31"),
                environment={
                    **compilers,
                    "CROSS_COMPILE": self.family.cross_compile,
                    "TF_CFLAGS": f"-ffile-prefix-map={source}=.",
                    "SOURCE_DATE_EPOCH": str(epoch),
                    "TZ": "UTC",
                },
            )
            made = source / f"build/{self.platform}/release"
            job.run(workspace, "cp", made / "bl31/bl31.elf", made / "bl31.bin", job.output)
