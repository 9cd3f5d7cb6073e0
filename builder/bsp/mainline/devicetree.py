# SPDX-License-Identifier: MIT
"""The board's device tree, and the one that is derived from it for emulation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.bsp.soc import BSP_DIRECTORY, Family
from builder.emulation.derive import Tree, derive, read_rules, read_tree
from builder.emulation.facts import machine_facts, machine_file, position
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
        memory: int,
        hardware: str,
        scope: str,
    ) -> None:
        super().__init__("device-tree", scope=scope, parents={"kernel": kernel})
        self.source = source
        self.family = family
        self.snippets = tree / SNIPPETS
        self.root_device = root_device
        self.console = console
        self.memory = memory
        self.hardware = hardware

    def settings(self) -> Mapping[str, object]:
        return {
            "root device": self.root_device,
            "console": self.console,
            "memory": self.memory,
            "hardware": self.hardware,
        }

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
        self._check(read_tree(board))
        rules = read_rules(machine_file(self.family.soc))
        changes = derive(board, rules, job.output / "emulated.dtb")
        listed = [
            {"node": change.node, "property": change.property, "text": str(change)}
            for change in changes
        ]
        (job.output / "changes.json").write_text(json.dumps(listed, indent=1))

    def _check(self, tree: Tree) -> None:
        """Compare the tree with the board's spec: a mismatch shows as a board that hangs."""
        name = tree["/chosen"].get("pynq_board", b"").rstrip(b"\0").decode()
        if name != self.hardware:
            raise UserError(f"{self.source}: /chosen/pynq_board is {name!r}, not {self.hardware!r}")
        memory = memory_size(tree)
        if memory != self.memory:
            raise UserError(
                f"{self.source}: its memory nodes have {memory >> 20} MiB, the board's "
                f"specification {self.memory >> 20} MiB"
            )
        facts = machine_facts(self.family.soc)
        number = re.sub(r"\D", "", self.console.partition(",")[0])
        for alias, devices in (
            (f"serial{number}", facts.serial),
            ("mmc0", facts.sd),
            ("ethernet0", facts.nic),
        ):
            position(tree, alias, devices)

    def _arguments(self, arguments: Sequence[str]) -> str:
        """Return the kernel's arguments with the console and root device of the board's spec."""
        own = {"console": self.console, "root": self.root_device}
        kept = [word for word in arguments if word.partition("=")[0] not in own]
        return " ".join([*(f"{name}={value}" for name, value in own.items()), *kept])


def memory_size(tree: Tree) -> int:
    """Return the bytes of memory that a device tree's memory nodes describe."""
    address, size = (
        4 * int.from_bytes(tree["/"].get(f"#{kind}-cells", b"\1"), "big")
        for kind in ("address", "size")
    )
    total = 0
    for properties in tree.values():
        if properties.get("device_type") == b"memory\0":
            reg = properties["reg"]
            for at in range(0, len(reg), address + size):
                total += int.from_bytes(reg[at + address : at + address + size], "big")
    return total
