# SPDX-License-Identifier: MIT
"""Description of an imported board's hardware: memory, console, start-up and device tree."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builder.board_generator.devicetree import board_tree as tree_of_design
from builder.board_generator.peripherals import baud_warning
from builder.errors import UserError
from builder.sdbuild_import.devicetree import QSPI, UserTree, board_tree
from builder.sdbuild_import.draft import Draft
from builder.sdbuild_import.facts import KnownBoard
from builder.sdbuild_import.hardware import Exported, read_export
from builder.sdbuild_import.report import Outcome
from builder.spec.document import read
from builder.spec.models import Board, Soc
from builder.spec.texts import format_size
from builder.vivado.system import PeripheralKind

MEMORY = {Soc.ZYNQ: 512 << 20, Soc.ZYNQMP: 2 << 30}
"""Size of the memory in bytes that is assumed if no file specifies it."""


@dataclass(frozen=True, kw_only=True)
class HardwareSource:
    """Sources for the description of a board's hardware.

    Attributes:
        specification: the board's `.spec`, to which findings refer.
        devicetree: file name of the board's device tree source.
        known: the board of Linux and U-Boot with the board's name, if there is one.
        like: file and content of the board whose hardware description is copied, if there is one.
    """

    specification: Path
    devicetree: str
    known: KnownBoard | None
    like: tuple[Path, Board] | None


def describe_hardware(
    draft: Draft,
    source: HardwareSource,
    bsp: dict[str, Any],
    additions: tuple[str, UserTree] | None,
) -> None:
    """Add memory and, for `mainline`, start-up and device tree to a board.

    Args:
        draft: the board.
        source: the sources.
        bsp: board.yaml's key `bsp`, which is extended.
        additions: name and content of the board's additions to the device tree.
    """
    _Description(draft, source, bsp).describe(additions)


class _Description:
    """State of `describe_hardware`."""

    def __init__(self, draft: Draft, source: HardwareSource, bsp: dict[str, Any]) -> None:
        self._draft = draft
        self._source = source
        self._bsp = bsp

    def describe(self, additions: tuple[str, UserTree] | None) -> None:
        if self._source.like:
            self._copy_like(*self._source.like)
            return
        export = None if self._source.known else self._exported()
        if export:
            self._from_export(export, additions)
        else:
            self._without_export(additions)

    def _report(self, outcome: Outcome, what: str) -> None:
        self._draft.report.add(self._source.specification, outcome, what)

    def _without_export(self, additions: tuple[str, UserTree] | None) -> None:
        """Describe a board by its name or by assumptions, and by its additions."""
        draft, known = self._draft, self._source.known
        memory = MEMORY[draft.soc]
        if known:
            memory = known.memory
            self._bsp["start-up-table"] = {"u-boot": known.start_up}
            self._report(
                Outcome.PERSON,
                f"assumed to be the board of Linux's {known.devicetree}, by its name: check this",
            )
            if additions and additions[1].memory not in (0, memory):
                self._report(
                    Outcome.PERSON,
                    f"the device tree has another size of memory than {known.devicetree}, which is "
                    "included too",
                )
        elif additions and additions[1].memory:
            memory = additions[1].memory
        if not known:
            self._report_assumptions(
                memory, in_tree=additions is not None and bool(additions[1].memory)
            )
            self._require_export()
        draft.keys["memory"] = format_size(memory)
        name = f"devicetree/{self._source.devicetree}"
        draft.keys["devicetree"] = name
        text = board_tree(
            draft.name,
            draft.soc,
            model=known.devicetree if known else None,
            user=additions,
            memory=memory,
            aliases=known.aliases if known else {},
        )
        draft.write(name, text)

    def _report_assumptions(self, memory: int, *, in_tree: bool) -> None:
        facts = ["console on the first UART", "card and network on the usual controllers"]
        if not in_tree:
            facts.insert(0, f"memory {format_size(memory)}")
        self._report(
            Outcome.PERSON,
            f"assumed, since no file specifies it: {', '.join(facts)}: check "
            f"devicetree/{self._source.devicetree}",
        )

    def _require_export(self) -> None:
        if "hardware" not in self._bsp and self._bsp["provider"] == "mainline":
            name = f"hardware/{self._draft.name}.xsa"
            self._bsp["hardware"] = {"xsa": name}
            self._report(
                Outcome.PERSON,
                "there is no hardware export: build hardware_project with Vivado, and copy the "
                f".xsa to {name}; or import with --like BOARD",
            )

    def _exported(self) -> Exported | None:
        """Return the facts from the hardware export; None if it is missing or unusable."""
        if "hardware" not in self._bsp:
            return None
        name = self._bsp["hardware"]["xsa"]
        try:
            return read_export(self._draft, name)
        except UserError as error:
            why = error.message.replace(f"{self._draft.directory}/", "")
            self._report(Outcome.PERSON, f"{name} was not used: {why}")
            return None

    def _from_export(self, export: Exported, additions: tuple[str, UserTree] | None) -> None:
        """Describe a board by its hardware export, followed by its additions as in PetaLinux."""
        draft, system, chosen = self._draft, export.system, export.chosen
        memory, includes = system.memory_size, []
        if additions:
            name, user = additions
            if user.memory not in (0, memory):
                self._report(
                    Outcome.PERSON,
                    f"the device tree has memory {format_size(user.memory)}, which is used, the "
                    f"hardware export {format_size(memory)}",
                )
            if user.memory:
                memory, system = user.memory, replace(system, memory=())
            if (
                draft.soc is Soc.ZYNQ
                and "qspi" in user.references
                and not system.all_of(PeripheralKind.QSPI)
            ):
                includes.append(f"{Path(self._source.devicetree).stem}-qspi.dtsi")
                draft.write(f"devicetree/{includes[0]}", QSPI)
            includes.append(name)
        draft.keys["memory"] = format_size(memory)
        draft.keys["console"] = chosen.kernel_console
        draft.keys["devicetree"] = f"devicetree/{self._source.devicetree}"
        baud = baud_warning(chosen)
        if baud:
            self._report(Outcome.PERSON, baud)
        network = chosen.network.name if chosen.network else "no network"
        facts = f"{chosen.console.name}, {chosen.card.name}, {network}"
        draft.write(
            draft.keys["devicetree"],
            tree_of_design(
                system,
                chosen,
                name=draft.name,
                model=draft.name,
                about=f"{draft.name}, converted from a board of PYNQ's sdbuild, and generated from "
                f"its hardware export: {facts}.",
                additions=includes,
            ),
        )
        self._report(
            Outcome.CONVERTED,
            f"memory and devicetree/{self._source.devicetree}, from the hardware export: {facts}",
        )

    def _copy_like(self, file: Path, board: Board) -> None:
        """Copy the hardware description of another board."""
        keys, name = self._draft.keys, board.board
        given: Mapping[str, Any] = read(file).data
        keys["memory"] = format_size(board.memory)
        keys["console"], keys["root-device"] = board.console, board.root_device
        what = f"memory, console, device tree and start-up table are those of {name}"
        same = name == self._draft.name
        self._report(
            Outcome.CONVERTED if same else Outcome.PERSON,
            f"{what} in this repository" if same else f"{what}: check that they fit",
        )
        for key in ("start-up-table", "boot-bin"):
            if key in given.get("bsp", {}):
                self._bsp[key] = given["bsp"][key]
        table = board.bsp.start_up_table
        wanted = [board.bsp.boot_bin]
        if table:
            wanted += [table.registers, table.parameters]
        for each in filter(None, wanted):
            target = self._draft.directory / each
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.parent / each, target)
        if board.devicetree:
            source = file.parent / board.devicetree
            for path in sorted(source.parent.glob("*.dts*")):
                to = f"devicetree/{self._source.devicetree if path == source else path.name}"
                text = path.read_text(encoding="utf-8")
                if path == source:
                    text = text.replace(f'pynq_board = "{name}"', f'pynq_board = "{keys["board"]}"')
                self._draft.write(to, text)
            keys["devicetree"] = f"devicetree/{self._source.devicetree}"
