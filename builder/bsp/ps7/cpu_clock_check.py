# SPDX-License-Identifier: MIT
"""Check of the CPU clock and the operating points of a Zynq-7000 board.

The module `cpu_clocks` has the rules.
`problems_of` reads a board's sources, for `validate`, and names file and line. It cannot follow
includes of the kernel's board trees. `check_tree` reads the compiled tree during a build.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from builder.bsp.mainline.snippet import snippet
from builder.bsp.ps7.check import read_parameters
from builder.bsp.ps7.clocks import CpuDividers, crystal_frequency
from builder.bsp.ps7.cpu_clocks import (
    DEFAULT_CRYSTAL,
    SOC_POINTS,
    CpuClock,
    assumed_clock,
    clock_of_dividers,
    clock_of_parameters,
    clock_of_table,
    faults,
    start_up_fault,
)
from builder.bsp.ps7.fields import Parameters
from builder.bsp.ps7.table import StartupTable, read_source, read_table
from builder.bsp.soc import FAMILIES
from builder.bsp.start_up import MOST_BYTES, START_UPS
from builder.errors import UserError
from builder.formats.devicetree import DeviceTree, is_enabled
from builder.formats.dts_reader import TreeSource, numbers, read_sources
from builder.spec.document import Problem
from builder.spec.models import Soc
from builder.spec.resolve import ImageSpec
from builder.vivado.export import open_export

_REMEDY: Final = (
    "write `/delete-property/ operating-points;` into the node instead, or include "
    "pynq-pl-zynq.dtsi after it, which deletes them: the CPU clock then stays as start-up sets it"
)
_START_REMEDY: Final = (
    "raise the CPU clock in the design, or disable the USB controller in the tree"
)
_CRYSTAL_TOLERANCE: Final = 1e-3
_CPU: Final = ("&cpu0", "cpu@0")
_CLOCKS: Final = ("&clkc", "clkc@100")
_USB: Final = {"usb0": ("&usb0", "usb@e0002000"), "usb1": ("&usb1", "usb@e0003000")}
_ON: Final = frozenset({'"okay"', '"ok"'})


def problems_of(spec: ImageSpec) -> list[Problem]:
    """Return the problems with the clocks of a board that can be found in its files."""
    board = spec.board
    if board.soc is not Soc.ZYNQ or board.bsp.provider != "mainline" or not board.devicetree:
        return []
    path = spec.directory / board.devicetree
    folder = snippet(spec.tree.root, FAMILIES[board.soc]).parent
    try:
        sources = read_sources(path, folders=[folder])
    except UserError as error:
        return [spec.document.problem(("devicetree",), error.message)]
    try:
        return [*_Sources(spec, sources).problems()]
    except UserError as error:
        what = "; ".join([error.message, *error.details])
    except ValueError as error:
        what = f"a parameter is not a number: {error}"
    return [spec.document.problem(("bsp", "start-up-table"), what)]


class _Sources:
    """Implementation of `problems_of`."""

    def __init__(self, spec: ImageSpec, source: TreeSource) -> None:
        self.spec = spec
        self.source = source

    def problems(self) -> Iterator[Problem]:
        yield from self._wrong_crystal()
        crystal = self._crystal()
        points, path, line = self._points()
        clock = _clock(self.spec, crystal or DEFAULT_CRYSTAL)
        usb = [label for label, nodes in _USB.items() if self._is_on(nodes)]
        if clock and (wrong := start_up_fault(clock, usb)):
            what = f"{wrong} (from {clock.known_from}); {_START_REMEDY}"
            yield self.spec.document.problem(("bsp",), what)
        elif points:
            known = clock or assumed_clock(points)
            for wrong in faults(known, points, usb):
                what = f"{wrong} (from {known.known_from}); {_REMEDY}"
                yield Problem(path=path, line=line, key="operating-points", what=what)

    def _is_on(self, nodes: Sequence[str]) -> bool:
        found = self.source.last(nodes, "status")
        return found is not None and found.value in _ON

    def _points(self) -> tuple[Sequence[int], Path, int]:
        """Return the effective operating points in kHz, with file and line."""
        found = self.source.last(_CPU, "operating-points")
        if found:
            cells = numbers(found.value) if found.value else None
            return (cells or [])[::2], found.path, found.line
        # They come from the SoC's tree or one of the kernel's board trees, which have the same
        # points.
        trees = [at for name, at in self.source.missing.items() if name.endswith((".dts", ".dtsi"))]
        return (SOC_POINTS, *trees[0]) if trees else ((), Path(), 0)

    def _crystal(self) -> int | None:
        """Return the crystal's frequency in Hz in the tree's sources; None if they have none."""
        found = self.source.last(_CLOCKS, "ps-clk-frequency")
        cells = numbers(found.value) if found and found.value else None
        return cells[0] if cells else None

    def _wrong_crystal(self) -> Iterator[Problem]:
        """Yield a problem if the crystals in the tree and in the board's parameters differ."""
        table = self.spec.board.bsp.start_up_table
        found = self.source.last(_CLOCKS, "ps-clk-frequency")
        crystal = self._crystal()
        if not table or not table.parameters or not found or not crystal:
            return
        parameters = read_parameters(self.spec.directory / table.parameters)
        wanted = crystal_frequency(Parameters(parameters))
        if abs(crystal / 1e6 - wanted) > _CRYSTAL_TOLERANCE * wanted:
            what = (
                f"is {crystal}, but {table.parameters} has a crystal of {wanted:g} MHz: the kernel "
                "would compute wrong clocks, and the console would be unreadable; write "
                f"<{round(wanted * 1e6)}>"
            )
            yield Problem(path=found.path, line=found.line, key="ps-clk-frequency", what=what)


def _clock(spec: ImageSpec, crystal: int) -> CpuClock | None:
    """Return the CPU clock that a board's first stage sets; None if it is unknown."""
    hardware, table = spec.board.bsp.hardware, spec.board.bsp.start_up_table
    export = spec.directory / hardware.xsa if hardware else None
    if export and export.is_file():
        found = exported_table(export)
        return clock_of_table(found, crystal) if found else None
    if table and table.registers:
        return clock_of_table(read_table(spec.directory / table.registers), crystal)
    if table and table.parameters:
        return clock_of_parameters(read_parameters(spec.directory / table.parameters), crystal)
    return None


def exported_table(export: Path) -> StartupTable | None:
    """Return the start-up table of a hardware export; None if it has no readable one."""
    with suppress(UserError, KeyError):
        source = open_export(export).read(START_UPS[Soc.ZYNQ].source, most=MOST_BYTES)
        text = source.decode(errors="replace")
        return read_source(text, origin=export.name)
    return None


def check_tree(
    tree: DeviceTree, dividers: CpuDividers | None, *, source: Path, start_up: str
) -> None:
    """Make sure that a compiled tree's operating points keep all peripherals within their limits.

    Args:
        tree: the board's tree.
        dividers: dividers of the CPU clock that start-up sets; None if they are unknown.
        source: the tree's source, for messages.
        start_up: origin of the dividers, for messages.

    Raises:
        UserError: the CPU clock is too low for USB, or an operating point cannot be used.
    """
    clock = clock_of_dividers(dividers, _crystal_of(tree), known_from=start_up)
    usb = _usb_of(tree)
    if clock and (wrong := start_up_fault(clock, usb)):
        raise UserError(f"{source}: {wrong} (from {clock.known_from})", hint=_START_REMEDY)
    details = tree_faults(tree, clock)
    if details:
        raise UserError(
            f"{source}: /cpus/cpu@0: the board cannot use its operating-points",
            hint=_REMEDY,
            details=details,
        )


def tree_faults(tree: DeviceTree, clock: CpuClock | None = None) -> list[str]:
    """Return the faults of the operating points of a compiled tree."""
    cells = tree.get("/cpus/cpu@0", {}).get("operating-points", b"")
    points = [int.from_bytes(cells[at : at + 4], "big") for at in range(0, len(cells), 8)]
    if not points:
        return []
    known = clock or assumed_clock(points)
    return [f"{wrong} (from {known.known_from})" for wrong in faults(known, points, _usb_of(tree))]


def _crystal_of(tree: DeviceTree) -> int:
    found = [node["ps-clk-frequency"] for node in tree.values() if "ps-clk-frequency" in node]
    return int.from_bytes(found[0], "big") if found and any(found[0]) else DEFAULT_CRYSTAL


def _usb_of(tree: DeviceTree) -> list[str]:
    """Return the labels of the USB controllers that are enabled in a compiled tree."""
    on = {node.rpartition("/")[2] for node, properties in tree.items() if is_enabled(properties)}
    return [label for label, (_, name) in _USB.items() if name in on]
