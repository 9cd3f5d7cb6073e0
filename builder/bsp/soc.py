# SPDX-License-Identifier: MIT
"""What differs between the SoC families for those who build their boot files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builder.spec.models import Soc

BSP_DIRECTORY = "petalinux_bsp"
"""Directory of the tree with the files that both BSP providers read."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A SoC family.

    kernel_arch: ARCH of the kernel's and U-Boot's Makefiles.
    cross_compile: prefix of the cross compiler, which `cross_packages` bring.
    kernel_image: make target, and file name below arch/*/boot.
    kernel_load: address that the FIT's kernel is loaded to and entered at.
    dtsi: name of the SoC's device tree in the kernel's sources.
    u_boot_defconfig: configuration of U-Boot that the fragments go on top of.
    """

    soc: Soc
    kernel_arch: str
    fit_arch: str
    cross_compile: str
    cross_packages: tuple[str, ...]
    kernel_image: str
    kernel_load: int
    dtsi: str
    u_boot_defconfig: str

    def fragments(self, tree: Path) -> list[Path]:
        """Return the kernel configuration fragments for a tree, the base first."""
        bsp = tree / BSP_DIRECTORY
        shared = bsp / "meta-user/recipes-kernel/linux/linux-xlnx"
        return [bsp / f"mainline/{self.soc.value}.cfg", *sorted(shared.glob("*.cfg"))]


FAMILIES = {
    Soc.ZYNQ: Family(
        soc=Soc.ZYNQ,
        kernel_arch="arm",
        fit_arch="arm",
        cross_compile="arm-linux-gnueabihf-",
        cross_packages=("gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross"),
        kernel_image="zImage",
        # 32 MiB: zImage unpacks itself to the start of memory and must not lie where it goes.
        kernel_load=0x2000000,
        dtsi="zynq-7000.dtsi",
        u_boot_defconfig="xilinx_zynq_virt_defconfig",
    )
}
