# SPDX-License-Identifier: MIT
"""The board's device tree, and the tree derived from it for emulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.bsp.mainline.snippet import snippet
from builder.bsp.soc import Family
from builder.bsp.trees import check_devices, derive_emulated, memory_size
from builder.errors import UserError
from builder.formats.devicetree import DeviceTree, read_tree
from builder.qemu_devicetree.machine import machine_file
from builder.steps.step import Job, Step


class BoardDeviceTree(Step):
    """Step that makes `board.dtb`, `emulated.dtb` and the list of differences, `changes.json`."""

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
        self.snippet = snippet(tree, family)
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
        return [self.source.parent, self.snippet, machine_file(self.family.soc)]

    def run(self, job: Job) -> None:
        with job.workspace("device-tree", need=1 << 24) as workspace:
            work = workspace.directory
            kernel = job.input("kernel") / "dts"
            flat = work / "board.dts"
            job.run(workspace, "cp", self.snippet, work)
            job.run(
                workspace,
                *("cpp", "-nostdinc", "-undef", "-D__DTS__", "-x", "assembler-with-cpp"),
                *("-I", self.source.parent, "-I", work, "-I", kernel),
                *(self.source, "-o", flat),
            )
            board = job.output / "board.dtb"
            # -@: with symbols, so that device-tree overlays can refer to its labels.
            job.run(workspace, "dtc", "-@", "-I", "dts", "-O", "dtb", "-o", board, flat)
            arguments = job.run(workspace, "fdtget", board, "/chosen", "bootargs").split()
            job.run(
                workspace,
                *("fdtput", "-t", "s", board, "/chosen", "bootargs", self._arguments(arguments)),
            )
        self._check(read_tree(board))
        derive_emulated(board, self.family.soc, job.output)

    def _check(self, tree: DeviceTree) -> None:
        """Compare the tree with the board's spec: a board with a wrong tree would hang.

        Raises:
            UserError: the tree and the spec differ.
        """
        name = tree["/chosen"].get("pynq_board", b"").rstrip(b"\0").decode(errors="replace")
        if name != self.hardware:
            raise UserError(
                f"{self.source}: /chosen/pynq_board is {name!r}, but the board is {self.hardware!r}"
            )
        memory = memory_size(tree)
        if memory != self.memory:
            raise UserError(
                f"{self.source}: the memory nodes have {memory >> 20} MiB, but board.yaml has "
                f"{self.memory >> 20} MiB"
            )
        check_devices(tree, self.family.soc, self.console)

    def _arguments(self, arguments: Sequence[str]) -> str:
        """Return the kernel's arguments with the console and root device of the board's spec."""
        own = {"console": self.console, "root": self.root_device}
        others = [word for word in arguments if word.partition("=")[0] not in own]
        return " ".join([*(f"{name}={value}" for name, value in own.items()), *others])
