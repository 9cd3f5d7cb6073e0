# SPDX-License-Identifier: MIT
"""BOOT.BIN: the first stage, in the one file that the BootROM looks for.

The first stage is U-Boot's SPL, which finds U-Boot in a file of its own; U-Boot's mkimage packs it.
Or it is AMD's (FSBL), if the board brings that; AMD's bootgen packs it, with all that comes after.
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

# U-Boot proper comes last: bootgen's file is read from the front, and Trusted Firmware is handed
# the list of what was loaded. The names are those of files in one directory: bootgen has no quotes.
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
    """`BOOT.BIN`, read back as the BootROM would, as far as that needs no hardware."""

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
            raise StepError(f"{target.name} does not hold the PMU's firmware as it was given")

    def _mkimage(self, job: Job, workspace: Workspace, target: Path) -> None:
        """Pack SPL. It is no ELF file that is taken: SPL's device tree comes after its program."""
        program = (job.input("u-boot") / "u-boot-spl.bin").read_bytes()
        spl = workspace.directory / "spl.bin"
        workspace.outside(spl).write_bytes(program.ljust(-(-len(program) // 4) * 4, b"\0"))
        pmu = ("-n", workspace.directory / "pmufw.bin") if self.pmu else ()
        job.run(workspace, "mkimage", "-T", self.family.boot_image, *pmu, "-d", spl, target)

    def _check_spl(self, job: Job, workspace: Workspace, image: BootImage) -> None:
        """Compare what the BootROM would load with SPL as it was built."""
        u_boot = job.input("u-boot")
        if not image.first_stage.startswith((u_boot / "u-boot-spl.bin").read_bytes()):
            raise StepError(
                "the first stage in BOOT.BIN is not SPL as it was built: the board would print "
                "nothing",
                hint="mkimage (u-boot-tools) writes another form of header than is read here",
            )
        program = u_boot / "u-boot-spl"
        spl = read_spl(job.run(workspace, *DESCRIBE, program))
        check_spl(spl, image.header)
        if spl.unaligned is None:
            check_sources(job.run(workspace, *SOURCES, program))

    def _bootgen(self, job: Job, workspace: Workspace, fsbl: Path, target: Path) -> None:
        """Pack AMD's first stage, and what it starts: Trusted Firmware, which starts U-Boot."""
        if shutil.which("bootgen") is None:
            raise HostError(
                "AMD's first stage is packed by bootgen, which is not on this machine",
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
        """Read the file as the BootROM would, and as bootgen does if it has bootgen's tables."""
        try:
            image = parse(path, self.family.soc)
        except ValueError as error:
            raise StepError(f"{path.name} is not what the BootROM accepts: {error}") from error
        job.say(f"BOOT.BIN: {image}")
        # mkimage leaves the tables out, and bootgen cannot do without.
        if image.header.image_table_offset and shutil.which("bootgen"):
            job.run(workspace, "bootgen", "-arch", self.family.soc.value, "-read", path)
        return image
