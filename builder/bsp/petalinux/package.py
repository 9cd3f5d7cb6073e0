# SPDX-License-Identifier: MIT
"""The boot files that are made from the components: BOOT.BIN, image.ub, boot script, modules."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.bsp.fit_source import fit_source
from builder.bsp.petalinux.component import (
    BOOT_SCRIPT,
    DEVICE_TREE,
    FSBL,
    HEADERS,
    KERNEL,
    MODULES,
    PMUFW,
    SYSTEM_DTB,
    TRUSTED_FIRMWARE,
    U_BOOT,
    Component,
    ComponentBuild,
    open_project,
)
from builder.bsp.petalinux.project import PetaLinuxProject
from builder.bsp.petalinux.system import INPUT, WORK, ContainerStep, Session
from builder.bsp.soc import FAMILIES
from builder.errors import StepError
from builder.spec.models import Soc
from builder.steps.step import Job, Step

_OUTPUT = "BOOT.BIN"

_OPTIONS = {
    FSBL.name: "--fsbl",
    PMUFW.name: "--pmufw",
    TRUSTED_FIRMWARE.name: "--atf",
    U_BOOT.name: "--u-boot",
    DEVICE_TREE.name: "--dtb",
}
"""The components in BOOT.BIN, and their options of petalinux-package."""

_BITSTREAM = "system.bit"

# The first stage loads the partitions in this order and starts U-Boot, which finds its device tree
# at CONFIG_XILINX_OF_BOARD_DTB_ADDR. Attributes: AMD's UG1283.
_BIF: Mapping[Soc, Mapping[str, str]] = {
    Soc.ZYNQ: {
        FSBL.name: "[bootloader]",
        _BITSTREAM: "",
        U_BOOT.name: "",
        DEVICE_TREE.name: "[load=0x100000]",
    },
    Soc.ZYNQMP: {
        FSBL.name: "[bootloader, destination_cpu=a53-0]",
        PMUFW.name: "[pmufw_image]",
        _BITSTREAM: "[destination_device=pl]",
        TRUSTED_FIRMWARE.name: "[destination_cpu=a53-0, exception_level=el-3, trustzone]",
        DEVICE_TREE.name: "[destination_cpu=a53-0, load=0x100000]",
        U_BOOT.name: "[destination_cpu=a53-0, exception_level=el-2]",
    },
}


class PetaLinuxBoot(ContainerStep):
    """Step that makes a directory of boot files for the provider `prebuilt`."""

    packages = ("u-boot-tools", "device-tree-compiler")

    def __init__(
        self,
        board: str,
        *,
        project: PetaLinuxProject,
        builds: Sequence[ComponentBuild],
        bitstream: Path | None,
        epoch: int,
    ) -> None:
        steps: Sequence[Step] = (project.tool, project, *builds)
        super().__init__("petalinux-boot", scope=board, parents={step.name: step for step in steps})
        self.board = board
        self.project = project
        self.builds = {build.name: build for build in builds}
        self.bitstream = bitstream
        self.epoch = epoch

    def settings(self) -> Mapping[str, object]:
        return {
            "board": self.board,
            "bitstream": self.bitstream is not None,
            "epoch": self.epoch,
        }

    def files(self) -> Sequence[Path]:
        return [self.bitstream] if self.bitstream else []

    def run(self, job: Job) -> None:
        inputs = {name: job.input(name) for name in self.builds}
        if self.bitstream:
            inputs[_BITSTREAM] = self.bitstream
        with open_project(job, self.project, inputs=inputs) as container:
            self._boot_bin(container)
            made = container.work / _OUTPUT
            if not made.is_file():
                raise StepError("petalinux-package made no BOOT.BIN")
            shutil.copyfile(made, job.output / _OUTPUT)
        self._image(job)
        shutil.copyfile(self._made(job, BOOT_SCRIPT, "boot.scr"), job.output / "boot.scr")
        for name in (MODULES, HEADERS):
            made = self._made(job, KERNEL, name)
            if made.exists():
                shutil.copyfile(made, job.output / name)

    def _boot_bin(self, container: Session) -> None:
        package = self.project.tool.release.package
        output = ("--force", "-o", str(WORK / _OUTPUT))
        if self.bitstream:
            # petalinux-package silently ignores --fpga if the FPGA manager is enabled.
            bif = "boot.bif"
            (container.work / bif).write_text(self._description(), encoding="utf-8")
            container.petalinux(*package("--bif", str(WORK / bif), *output))
            return
        words = [
            word
            for name, option in _OPTIONS.items()
            if name in self.builds
            for word in (option, str(self._inside(name)))
        ]
        container.petalinux(*package(*words, *output))

    def _description(self) -> str:
        """Return the description of a BOOT.BIN with a bitstream, for bootgen (a .bif)."""
        attributes = _BIF[self.project.tool.soc]
        lines = (
            f"  {(f'{tags} ' if tags else '')}{self._inside(name)}\n"
            for name, tags in attributes.items()
        )
        return f"the_ROM_image:\n{{\n{''.join(lines)}}}\n"

    def _inside(self, name: str) -> Path:
        """Return the container's path of a part of BOOT.BIN."""
        if name == _BITSTREAM:
            return INPUT / _BITSTREAM
        (file,) = self.builds[name].outputs
        return INPUT / name / file

    def _image(self, job: Job) -> None:
        """Make image.ub: PetaLinux's contains a device tree without the user layer's changes."""
        family = FAMILIES[self.project.tool.soc]
        tree = self._made(job, DEVICE_TREE, SYSTEM_DTB)
        description = fit_source(
            family,
            kernel=self._made(job, KERNEL, family.kernel_image),
            about="Linux",
            board=self.board,
            trees={"": (f"device tree of {self.board}", tree)},
        )
        with job.workspace("petalinux-image", need=1 << 26) as workspace:
            source = workspace.directory / "image.its"
            workspace.outside(source).write_text(description)
            job.run(
                workspace,
                *("mkimage", "-f", source, job.output / "image.ub"),
                environment={"SOURCE_DATE_EPOCH": str(self.epoch)},
            )

    def _made(self, job: Job, component: Component, name: str) -> Path:
        return job.input(component.name) / name
