# SPDX-License-Identifier: MIT
"""Differences between the SoC families that matter when boot files are built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builder.spec.models import Soc
from builder.steps.architectures import MACHINES

BSP_DIRECTORY = "petalinux_bsp"
"""Directory of the project with the files that the providers `mainline` and `petalinux` read."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A SoC family.

    kernel_arch: ARCH of the kernel's Makefiles, and the architecture's name in a FIT image.
    kernel_image: make target, and file name below arch/*/boot.
    kernel_load: load address and entry point of the FIT's kernel.
    dtsi: name of the SoC's device tree in the kernel's sources.
    u_boot_defconfig: configuration of U-Boot to which the fragments are added.
    u_boot_image: make target of U-Boot, and its file on the FAT partition, which SPL loads.
    boot_image: mkimage type of the BootROM image that holds SPL.
    trusted_firmware: the platform's name in Trusted Firmware-A; None if it is not needed.
    pmu_firmware: whether a board needs firmware for a platform management unit.
    """

    soc: Soc
    kernel_arch: str
    kernel_image: str
    kernel_load: int
    dtsi: str
    u_boot_defconfig: str
    u_boot_image: str
    boot_image: str
    trusted_firmware: str | None = None
    pmu_firmware: bool = False

    @property
    def cross_compile(self) -> str:
        """Prefix of the cross compiler's programs."""
        return MACHINES[self.soc.architecture].cross_compile

    @property
    def compiler(self) -> str:
        """Host package with the cross compiler."""
        return f"gcc-{self.cross_compile.removesuffix('-')}"

    @property
    def compilers(self) -> tuple[str, str]:
        """The cross compiler and the host compiler."""
        return (f"{self.cross_compile}gcc", "gcc")

    def fragments(self, project: Path) -> list[Path]:
        """Return the kernel configuration fragments of a project directory, the base first."""
        bsp = project / BSP_DIRECTORY
        shared = bsp / "meta-user/recipes-kernel/linux/linux-xlnx"
        return [bsp / f"mainline/{self.soc.value}.cfg", *sorted(shared.glob("*.cfg"))]


FAMILIES = {
    Soc.ZYNQ: Family(
        soc=Soc.ZYNQ,
        kernel_arch="arm",
        kernel_image="zImage",
        # 32 MiB: zImage unpacks itself to the start of memory and must not overlap that area.
        kernel_load=0x2000000,
        dtsi="zynq-7000.dtsi",
        u_boot_defconfig="xilinx_zynq_virt_defconfig",
        u_boot_image="u-boot.img",
        boot_image="zynqimage",
    ),
    Soc.ZYNQMP: Family(
        soc=Soc.ZYNQMP,
        kernel_arch="arm64",
        kernel_image="Image",
        # The kernel runs at its load address, which has to be a multiple of 2 MiB (Linux,
        # Documentation/arm64/booting.rst). The first 2 MiB are not free: U-Boot's own device tree
        # is at 1 MiB (CONFIG_XILINX_OF_BOARD_DTB_ADDR).
        kernel_load=0x200000,
        dtsi="zynqmp.dtsi",
        u_boot_defconfig="xilinx_zynqmp_virt_defconfig",
        u_boot_image="u-boot.itb",
        boot_image="zynqmpimage",
        trusted_firmware="zynqmp",
        pmu_firmware=True,
    ),
}
