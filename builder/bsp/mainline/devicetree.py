# SPDX-License-Identifier: MIT
"""The board's device tree, and the one that is derived from it for emulation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.bsp.soc import BSP_DIRECTORY, Family
from builder.emulation.derive import derive, read_rules
from builder.emulation.facts import machine_file
from builder.errors import UserError
from builder.steps.step import Job, Step

SNIPPETS = f"{BSP_DIRECTORY}/meta-user/recipes-bsp/device-tree/files"


class DeviceTree(Step):
    """`board.dtb`, `emulated.dtb` and `changes.json`, the list of what differs between them."""

    packages = ("device-tree-compiler", "cpp")

    def __init__(
        self,
        source: Path,
        *,
        family: Family,
        kernel: Step,
        tree: Path,
        root_device: str,
        console: str,
        scope: str,
    ) -> None:
        super().__init__("device-tree", scope=scope, parents={"kernel": kernel})
        self.source = source
        self.family = family
        self.snippets = tree / SNIPPETS
        self.root_device = root_device
        self.console = console

    def settings(self) -> Mapping[str, object]:
        return {"root device": self.root_device, "console": self.console}

    def files(self) -> Sequence[Path]:
        return [self.source.parent, self.snippets, machine_file(self.family.soc)]

    def run(self, job: Job) -> None:
        with job.workspace("device-tree", need=1 << 24) as workspace:
            work = workspace.directory
            kernel = job.input("kernel") / "dts"
            flat = work / "board.dts"
            job.run(
                workspace,
                *("cpp", "-nostdinc", "-undef", "-D__DTS__", "-x", "assembler-with-cpp"),
                *("-I", self.source.parent, "-I", self.snippets, "-I", kernel),
                *(self.source, "-o", flat),
            )
            board = job.output / "board.dtb"
            # -@: with symbols, so that overlays can refer to its labels.
            job.run(workspace, "dtc", "-@", "-I", "dts", "-O", "dtb", "-o", board, flat)
            arguments = job.run(workspace, "fdtget", board, "/chosen", "bootargs").split()
            job.run(
                workspace,
                *("fdtput", "-t", "s", board, "/chosen", "bootargs", self._arguments(arguments)),
            )
            for check, wanted in (("pynq_board", self.scope),):
                found = job.run(workspace, "fdtget", board, "/chosen", check).strip()
                if found != wanted:
                    raise UserError(f"{self.source}: /chosen/{check} is {found}, not {wanted}")
        rules = read_rules(machine_file(self.family.soc))
        changes = derive(board, rules, job.output / "emulated.dtb")
        listed = [
            {"node": change.node, "property": change.property, "text": str(change)}
            for change in changes
        ]
        (job.output / "changes.json").write_text(json.dumps(listed, indent=1))

    def _arguments(self, arguments: Sequence[str]) -> str:
        """Return the kernel's arguments with the console and root device of the board's spec."""
        own = {"console": self.console, "root": self.root_device}
        kept = [word for word in arguments if word.partition("=")[0] not in own]
        return " ".join([*(f"{name}={value}" for name, value in own.items()), *kept])


def copy_sources(source: Path, tree: Path, target: Path) -> None:
    """Copy a device tree's sources and the tree's snippets into another's directory."""
    for folder in (tree / SNIPPETS, source.parent):
        for path in folder.glob("*.dts*"):
            shutil.copy(path, target)
