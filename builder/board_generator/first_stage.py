# SPDX-License-Identifier: MIT
"""Selection of a new board's set-up of memory, clocks and pins.

An export with Vivado's start-up code contains all of it. Otherwise a table of U-Boot for the same
board is used, or the table of another board as a placeholder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from builder.bsp.ps7.check import compare
from builder.bsp.ps7.fields import Mismatch
from builder.bsp.ps7.table import StartupTable, read_table
from builder.bsp.start_up import START_UPS
from builder.errors import UserError
from builder.spec.document import read
from builder.spec.models import Board, Soc
from builder.spec.reader import closest
from builder.vivado.design import Design
from builder.vivado.export import HardwareExport
from builder.vivado.system import UNSET

_KNOWN = Path(__file__).with_name("boards.yaml")
_TABLES = Path(__file__).with_name("start_up_tables.yaml")
_MAX_SHOWN = 10
"""Maximum number of mismatches in the warning about a placeholder."""
_PLACEHOLDER = "zynqmp-zcu102-rev1.0"
"""Placeholder for Zynq UltraScale+, which needs some table to compile."""


@dataclass(frozen=True, kw_only=True)
class FirstStage:
    """A first stage.

    Attributes:
        bsp: keys for `bsp` in board.yaml.
        about: a short description of the source.
        files: the files to add.
        warnings: consequences of a table that is not the board's.
    """

    bsp: Mapping[str, Any]
    about: str
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def first_stage(
    name: str,
    export: HardwareExport,
    design: Design,
    *,
    table: str | None,
    like: Board | None,
    registers: Iterable[Path],
) -> FirstStage:
    """Return a new board's first stage.

    Args:
        name: the board's name.
        export: the hardware export.
        design: the design in it.
        table: board of U-Boot whose table is used if the export has no start-up code.
        like: board of which the new one is a variant.
        registers: tables of existing boards; the best match may become the placeholder.

    Raises:
        UserError: the export's start-up code is damaged, or U-Boot has no such table.
    """
    if table:
        _check_table(table, design.soc)
    place = f"hardware/{name}.xsa"
    start_up = START_UPS[design.soc]
    if start_up.source in export.members:
        with tempfile.TemporaryDirectory() as scratch:
            start_up.extract(export.path, Path(scratch))
        return FirstStage(
            bsp={"hardware": {"xsa": place}},
            about=f"{start_up.source} of the export, in {place}",
            files={place: export.path},
            warnings=(_table_unused(start_up.source, table),) if table else (),
        )
    bsp = {"hardware": {"xsa": place, "optional": True}}
    own = table or _known(design)
    if own:
        return FirstStage(
            bsp={**bsp, "start-up-table": {"u-boot": own}},
            about=f"U-Boot's table of {own}",
            warnings=(_table_of_uboot(start_up.source, own),),
        )
    return _placeholder(name, design, bsp, like=like, registers=registers)


def _check_table(table: str, soc: Soc) -> None:
    tables = read(_TABLES).data[soc.value]
    if table not in tables:
        raise UserError(
            f"--start-up-table {table}: U-Boot has no such table for {soc.value}"
            f"{closest(table, tables)}",
            hint=f"available tables: {', '.join(tables)}",
        )


def _table_unused(source: str, table: str) -> str:
    return f"U-Boot's table of {table} is not used: the export has this board's own {source}"


def _table_of_uboot(source: str, table: str) -> str:
    return (
        f"the export has no {source}: the first stage uses U-Boot's table of {table}, which does "
        "not include the changes of this design (clocks of the logic, pins)"
    )


def _known(design: Design) -> str | None:
    """Return the name of U-Boot's table for the board part of the design; None if there is none."""
    known = read(_KNOWN).data[design.soc.value]
    parts = design.board.split(":")
    found: str | None = known.get(parts[1]) if len(parts) > 1 else None
    return found


def _placeholder(
    name: str,
    design: Design,
    bsp: Mapping[str, Any],
    *,
    like: Board | None,
    registers: Iterable[Path],
) -> FirstStage:
    own = like.bsp.start_up_table if like else None
    if design.soc is not Soc.ZYNQ:
        table = (own.u_boot if own else None) or _PLACEHOLDER
        return FirstStage(
            bsp={**bsp, "start-up-table": {"u-boot": table, "stand-in": True}},
            about=f"placeholder: U-Boot's table of {table}",
            warnings=(_placeholder_warning(f"U-Boot's table of {table}", None),),
        )
    parameters = {
        key: value
        for key, value in design.system.parameters.items()
        if key.startswith("PCW_") and value != UNSET
    }
    parameter_file = f"ps7/{name}.parameters.yaml"
    files: dict[str, bytes | Path] = {parameter_file: _parameter_file(design, parameters)}
    keys: dict[str, Any] = {"parameters": parameter_file, "stand-in": True}
    mismatches: list[Mismatch] | None = None
    if own and own.u_boot:
        keys["u-boot"] = own.u_boot
        about = f"U-Boot's table of {own.u_boot}"
    else:
        tables = {path: read_table(path) for path in registers}
        if not tables:
            raise UserError(
                "the export has no ps7_init_gpl.c, and no board here has a start-up table",
                hint="use an .xsa, or set a board of U-Boot with --start-up-table",
            )
        best = min(tables, key=lambda path: len(_compared(tables[path], parameters)))
        mismatches = _compared(tables[best], parameters)
        files[f"ps7/{best.name}"] = best
        keys["registers"] = f"ps7/{best.name}"
        about = f"the table {best.name}"
    return FirstStage(
        bsp={**bsp, "start-up-table": keys},
        about=f"placeholder: {about}, of another board",
        files=files,
        warnings=(_placeholder_warning(about, mismatches),),
    )


def _compared(table: StartupTable, parameters: Mapping[str, str]) -> list[Mismatch]:
    """Return the mismatches between a table and a design's parameters."""
    try:
        return compare(table, parameters)
    except ValueError as error:
        raise UserError(f"a parameter of the processing system is not a number: {error}") from error


def _placeholder_warning(about: str, mismatches: Sequence[Mismatch] | None) -> str:
    """Return the warning about a placeholder; `mismatches` is None if it cannot be compared."""
    return (
        f"the export has no start-up code: the first stage uses {about}, of another board. Such an "
        "image boots in QEMU, which ignores the table's values, but probably not on a board. "
        f"{_compared_with(mismatches)}"
    )


def _compared_with(mismatches: Sequence[Mismatch] | None) -> str:
    if mismatches is None:
        return "The table was not compared with the design"
    if not mismatches:
        return "The table does not contradict the design where they can be compared"
    shown = [str(mismatch) for mismatch in mismatches[:_MAX_SHOWN]]
    if len(mismatches) > _MAX_SHOWN:
        shown.append(f"and {len(mismatches) - _MAX_SHOWN} more, which the build lists")
    return f"The table contradicts the design: {'; '.join(shown)}"


def _parameter_file(design: Design, parameters: Mapping[str, str]) -> bytes:
    head = (
        "# SPDX-License-Identifier: MIT\n"
        f"# Parameters of the processing system in design {design.name}, Vivado {design.vivado}.\n"
    )
    return (head + yaml.safe_dump(dict(sorted(parameters.items())))).encode()
