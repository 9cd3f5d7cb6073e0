# SPDX-License-Identifier: MIT
"""The files of the boot partition: BOOT.BIN, U-Boot, boot script and FIT image.

`image.ub` has two configurations: conf-board, and conf-emulated with the derived device tree, which
the boot script selects in QEMU. So the image that is tested is the image that is shipped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.bsp.fit_source import fit_source
from builder.bsp.mainline.boot_order import check_boot_order, read_u_boot
from builder.bsp.mainline.u_boot import CPU_CLOCK
from builder.bsp.ps7.clocks import CpuDividers
from builder.bsp.ps7.cpu_clock_check import check_tree
from builder.bsp.soc import BSP_DIRECTORY, Family
from builder.errors import StepError
from builder.formats.devicetree import read_tree
from builder.spec.models import Soc
from builder.steps.step import Job, Step


class BootFiles(Step):
    """Step that makes `fat/`, the files of the boot partition, and copies trees and reports."""

    packages = ("u-boot-tools", "device-tree-compiler")

    def __init__(
        self,
        board: str,
        *,
        family: Family,
        kernel: Step,
        device_tree: Step,
        u_boot: Step,
        boot_bin: Step,
        source: Path,
        project: Path,
    ) -> None:
        steps = (kernel, device_tree, u_boot, boot_bin)
        super().__init__("boot-files", scope=board, parents={step.name: step for step in steps})
        self.board = board
        self.family = family
        self.source = source
        self.script = project / BSP_DIRECTORY / f"mainline/{family.soc.value}-boot.cmd"

    def settings(self) -> Mapping[str, object]:
        return {"board": self.board}

    def files(self) -> Sequence[Path]:
        return [self.script]

    def run(self, job: Job) -> None:
        kernel, trees, u_boot = (job.input(n) for n in ("kernel", "device-tree", "u-boot"))
        self._check_order(job, trees / "board.dtb", u_boot)
        if self.family.soc is Soc.ZYNQ:
            self._check_clocks(trees / "board.dtb", u_boot / CPU_CLOCK)
        fat = job.output / "fat"
        fat.mkdir()
        for path in (trees / "board.dtb", trees / "emulated.dtb", trees / "changes.json"):
            shutil.copy(path, job.output)
        release = (kernel / "kernel-release").read_text().strip()
        shutil.copy(kernel / "kernel-release", job.output)
        shutil.copy(u_boot / self.family.u_boot_image, fat)
        shutil.copy(job.input("boot-bin") / "BOOT.BIN", fat)
        description = fit_source(
            self.family,
            kernel=kernel / self.family.kernel_image,
            about=f"Linux {release}",
            board=self.board,
            trees={
                "-board": (f"device tree of {self.board}", trees / "board.dtb"),
                "-emulated": (
                    f"device tree of {self.board} as QEMU emulates it",
                    trees / "emulated.dtb",
                ),
            },
        )
        epoch = {"SOURCE_DATE_EPOCH": (u_boot / "epoch").read_text().strip()}
        with job.workspace("boot-files", need=1 << 26) as workspace:
            source = workspace.directory / "image.its"
            workspace.outside(source).write_text(description)
            job.run(workspace, "mkimage", "-f", source, fat / "image.ub", environment=epoch)
            job.run(
                workspace,
                *("mkimage", "-A", self.family.kernel_arch, "-O", "linux", "-T", "script"),
                *("-C", "none", "-n", "boot.scr", "-d", self.script, fat / "boot.scr"),
                environment=epoch,
            )
            shown = job.run(workspace, "mkimage", "-l", fat / "image.ub")
        for wanted in ("conf-board", "conf-emulated"):
            if wanted not in shown:
                raise StepError(f"image.ub has no configuration {wanted}")

    def _check_order(self, job: Job, board: Path, u_boot: Path) -> None:
        """Raise if U-Boot or the kernel would use another card than the BootROM."""
        facts = read_u_boot(u_boot, self.family)
        first = check_boot_order(facts, read_tree(board), self.family.soc, self.source)
        job.say(f"U-Boot tries {first} first, the card that the board boots from")

    def _check_clocks(self, board: Path, cpu_clock: Path) -> None:
        """Raise if the tree's operating points do not fit the first stage or the board."""
        found = json.loads(cpu_clock.read_text())
        dividers = CpuDividers(**found["dividers"]) if found["dividers"] else None
        start_up = f"the {found['from']}"
        check_tree(read_tree(board), dividers, source=self.source, start_up=start_up)
