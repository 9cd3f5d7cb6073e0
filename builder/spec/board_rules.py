# SPDX-License-Identifier: MIT
"""Validation rules for boards beyond their model."""

from __future__ import annotations

import re
from pathlib import Path

from builder.spec.document import KeyPath
from builder.spec.models import Board, Soc
from builder.spec.reader import Reader


def check_board(reader: Reader, file: Path, board: Board, *, boot_files: Path | None) -> None:
    """Add a problem for each missing file of a board, and for each contradiction.

    `boot_files` are those of the command line, which replace the board's.
    """
    _Rules(reader, file, board).check(boot_files)


class _Rules:
    """Implementation of `check_board`: a method per rule, or per provider."""

    def __init__(self, reader: Reader, file: Path, board: Board) -> None:
        self.reader = reader
        self.file = file
        self.directory = file.parent
        self.board = board

    def check(self, boot_files: Path | None) -> None:
        if self.board.board != self.directory.name:
            self.add_problem(("board",), f"must be the directory's name, {self.directory.name}")
        if not re.fullmatch(r"/dev/mmcblk[0-9]{1,3}p2", self.board.root_device):
            self.add_problem(
                ("root-device",),
                "must be partition 2 of a card, such as /dev/mmcblk0p2: the root filesystem is "
                "there, and the kernel would wait forever for any other device",
            )
        self.check_file(("devicetree",), self.board.devicetree)
        match self.board.bsp.provider:
            case "prebuilt":
                self.prebuilt(boot_files)
            case "petalinux":
                self.petalinux()
            case "mainline":
                self.mainline()
        card = self.board.emulate.card
        if card & (card - 1):
            self.add_problem(
                ("emulate", "card"), "must be a power of two, as QEMU's card readers ask"
            )

    def add_problem(self, where: KeyPath, what: str) -> None:
        self.reader.add_problem(self.file, where, what)

    def check_file(self, where: KeyPath, path: str | None) -> None:
        """Add a problem if a file is named but missing."""
        if path and not (self.directory / path).is_file():
            self.add_problem(where, f"there is no file {self.directory / path}")

    def exported(self) -> bool:
        """Return whether the board's hardware export exists."""
        hardware = self.board.bsp.hardware
        return hardware is not None and (self.directory / hardware.xsa).is_file()

    def prebuilt(self, given: Path | None) -> None:
        """Check that there are boot files, unless the command line names some."""
        place = self.board.bsp.boot_files
        if given:
            return
        if place is None:
            self.add_problem(("bsp",), "the provider prebuilt needs `boot-files`")
        elif place.file and not (self.directory / place.file).exists():
            self.add_problem(
                ("bsp", "boot-files", "file"),
                f"there is no file or directory {self.directory / place.file}",
            )

    def petalinux(self) -> None:
        """Check that there is an input from which to create a project."""
        hardware, petalinux = self.board.bsp.hardware, self.board.bsp.petalinux
        if hardware and not hardware.optional:
            self.check_file(("bsp", "hardware", "xsa"), hardware.xsa)
        elif not petalinux.bsp and not self.exported():
            self.add_problem(
                ("bsp",), "PetaLinux needs `hardware` with its file, or a BSP in `petalinux.bsp`"
            )
        if petalinux.bsp:
            self.check_file(("bsp", "petalinux", "bsp", "file"), petalinux.bsp.file)
        self.check_file(("bsp", "petalinux", "bitstream"), petalinux.bitstream)

    def mainline(self) -> None:
        """Check that the inputs of the boot files exist."""
        bsp = self.board.bsp
        if not self.board.devicetree:
            self.add_problem(("devicetree",), "is missing")
        if bsp.boot_files:
            self.add_problem(("bsp", "boot-files"), "is for `provider: prebuilt`")
        if bsp.hardware and not bsp.hardware.optional:
            self.check_file(("bsp", "hardware", "xsa"), bsp.hardware.xsa)
        if table := bsp.start_up_table:
            self.check_file(("bsp", "start-up-table", "registers"), table.registers)
            self.check_file(("bsp", "start-up-table", "parameters"), table.parameters)
        self.check_file(("bsp", "boot-bin"), bsp.boot_bin)
        for index, fragment in enumerate(bsp.kernel_fragments):
            self.check_file(("bsp", "kernel-fragments", index), fragment)
        self.family()
        if not (self.exported() or bsp.firmware.fsbl or bsp.start_up_table or bsp.boot_bin):
            self.add_problem(
                ("bsp",),
                "the first stage needs `hardware` with its file, `start-up-table` or `boot-bin`",
            )

    def family(self) -> None:
        """Check for keys that only apply to the other SoC family."""
        soc, firmware, table = (
            self.board.soc,
            self.board.bsp.firmware,
            self.board.bsp.start_up_table,
        )
        programs = {
            "pmu": firmware.pmu,
            "pmu-configuration": firmware.pmu_configuration,
            "fsbl": firmware.fsbl,
        }
        for key, program in programs.items():
            where = ("bsp", "firmware", key)
            if program is None:
                continue
            if soc is not Soc.ZYNQMP:
                self.add_problem(where, f"is for {Soc.ZYNQMP.value}, but this board is {soc.value}")
            elif not program.optional:
                self.check_file((*where, "file"), program.file)
        if table and soc is not Soc.ZYNQ:
            for key, name in (("registers", table.registers), ("parameters", table.parameters)):
                if name:
                    self.add_problem(
                        ("bsp", "start-up-table", key),
                        f"is for {Soc.ZYNQ.value}, but this board is {soc.value}",
                    )
