# SPDX-License-Identifier: MIT
"""BOOT.BIN, the file with the first stage, which the BootROM loads.

The first stage is U-Boot's SPL, packed by U-Boot's mkimage; SPL loads U-Boot from a separate file.
If the board has AMD's first stage (FSBL), AMD's bootgen packs that and all later stages.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.bsp.pmu import pmu_memory
from builder.bsp.program import Program, downloads, files
from builder.bsp.soc import Family
from builder.bsp.spl import DESCRIBE, SOURCES, check_sources, check_spl, read_spl
from builder.errors import HostError, StepError
from builder.formats.boot_bin import BootImage, parse
from builder.sandbox.workspace import Workspace
from builder.steps.step import Job, Step

# U-Boot proper comes last: the FSBL loads the partitions in this order and hands the list of them
# to Trusted Firmware. All files are in one directory, because bootgen does not support quoted
# paths.
_FSBL = """\
card:
{{
    [bootloader, destination_cpu=a53-0] fsbl.elf
{pmu}
    [destination_cpu=a53-0, exception_level=el-3, trustzone] bl31.elf
    [destination_cpu=a53-0, exception_level=el-2] u-boot.elf
}}
"""
_PMU = "    [pmufw_image] pmufw.bin"


class BootBin(Step):
    """Step that makes `BOOT.BIN` and checks the parts of it that the BootROM reads."""

    def __init__(
        self,
        board: str,
        *,
        family: Family,
        u_boot: Step,
        trusted_firmware: Step | None,
        pmu: Program | None,
        fsbl: Program | None,
        finished: Path | None,
    ) -> None:
        parents = {"u-boot": u_boot} | downloads((pmu, fsbl))
        if fsbl and trusted_firmware:
            parents["trusted-firmware"] = trusted_firmware
        super().__init__("boot-bin", scope=board, parents=parents)
        self.packages = ("xilinx-bootgen",) if fsbl else ("u-boot-tools", "binutils")
        self.family = family
        self.pmu = pmu
        self.fsbl = fsbl
        self.finished = finished

    def settings(self) -> Mapping[str, object]:
        first_stage = "FSBL" if self.fsbl else "finished" if self.finished else "SPL"
        return {
            "soc": self.family.soc.value,
            "first stage": first_stage,
            "PMU firmware": bool(self.pmu),
        }

    def files(self) -> Sequence[Path]:
        return [*files((self.pmu, self.fsbl)), *([self.finished] if self.finished else [])]

    def run(self, job: Job) -> None:
        target = job.output / "BOOT.BIN"
        pmu = pmu_memory(self.pmu.find(job)) if self.pmu else b""
        with job.workspace("boot-bin", need=1 << 26) as workspace:
            if pmu:
                workspace.outside(workspace.directory / "pmufw.bin").write_bytes(pmu)
            if self.finished:
                shutil.copy(self.finished, target)
            elif self.fsbl:
                self._bootgen(job, workspace, self.fsbl.find(job), target)
            else:
                self._mkimage(job, workspace, target)
            image = self._read_back(job, workspace, target)
            if not (self.finished or self.fsbl):
                self._check_spl(job, workspace, image)
        if not self.finished and image.pmu != pmu:
            raise StepError(f"the PMU firmware in {target.name} differs from the supplied one")

    def _mkimage(self, job: Job, workspace: Workspace, target: Path) -> None:
        """Pack SPL from its binary: the ELF file does not contain SPL's device tree."""
        program = (job.input("u-boot") / "u-boot-spl.bin").read_bytes()
        spl = workspace.directory / "spl.bin"
        workspace.outside(spl).write_bytes(program.ljust(-(-len(program) // 4) * 4, b"\0"))
        pmu = ("-n", workspace.directory / "pmufw.bin") if self.pmu else ()
        job.run(workspace, "mkimage", "-T", self.family.boot_image, *pmu, "-d", spl, target)

    def _check_spl(self, job: Job, workspace: Workspace, image: BootImage) -> None:
        """Compare the first stage in BOOT.BIN with the SPL that was built."""
        u_boot = job.input("u-boot")
        if not image.first_stage.startswith((u_boot / "u-boot-spl.bin").read_bytes()):
            raise StepError(
                "the first stage in BOOT.BIN differs from the SPL that was built: the board would "
                "print nothing",
                hint="mkimage (u-boot-tools) writes a header of another form than this check reads",
            )
        program = u_boot / "u-boot-spl"
        spl = read_spl(job.run(workspace, *DESCRIBE, program))
        check_spl(spl, image.header)
        if spl.unaligned is None:
            check_sources(job.run(workspace, *SOURCES, program))

    def _bootgen(self, job: Job, workspace: Workspace, fsbl: Path, target: Path) -> None:
        """Pack AMD's first stage, Trusted Firmware and U-Boot, which start each other."""
        if shutil.which("bootgen") is None:
            raise HostError(
                "bootgen, which packs AMD's first stage, is not installed",
                hint="apt-get install xilinx-bootgen; or build without `firmware.fsbl`",
            )
        here = workspace.directory
        u_boot = job.input("u-boot") / "u-boot.elf"
        job.run(workspace, "cp", fsbl, here / "fsbl.elf")
        job.run(workspace, "cp", job.input("trusted-firmware") / "bl31.elf", u_boot, here)
        description = _FSBL.format(pmu=_PMU if self.pmu else "")
        workspace.outside(here / "boot.bif").write_text(description)
        job.run(
            workspace,
            *("bootgen", "-arch", self.family.soc.value, "-image", "boot.bif", "-w", "-o", target),
            cwd=here,
        )

    def _read_back(self, job: Job, workspace: Workspace, path: Path) -> BootImage:
        """Read the file as the BootROM does, and with bootgen if it has bootgen's tables."""
        try:
            image = parse(path, self.family.soc)
        except ValueError as error:
            raise StepError(f"the BootROM would not accept {path.name}: {error}") from error
        job.say(f"BOOT.BIN: {image}")
        # mkimage does not write the tables that bootgen needs.
        if image.header.image_table_offset and shutil.which("bootgen"):
            job.run(workspace, "bootgen", "-arch", self.family.soc.value, "-read", path)
        return image
