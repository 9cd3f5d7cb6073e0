# SPDX-License-Identifier: MIT
"""The commands for those who bring up a board: what is in a hardware export, and a board from it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import shtab
from rich.console import Console
from rich.markup import escape

from builder.board_generator.board import BoardRequest, new_board
from builder.board_generator.logic import describe
from builder.cli.context import ROOT, Context, typed
from builder.cli.options import BOARDS, PROFILES, Verbs, completed
from builder.report.console import columns
from builder.vivado.design import read_design
from builder.vivado.export import open_export
from builder.vivado.system import read_system


def create(arguments: argparse.Namespace, context: Context) -> int:
    """Write the directory of a new board."""
    made = new_board(
        BoardRequest(
            name=arguments.name,
            export=arguments.xsa,
            directory=_place(arguments.directory, arguments.name),
            like=arguments.like,
            profile=arguments.profile,
            table=arguments.table,
            console=arguments.console,
            card=arguments.card,
        ),
        context.tree,
    )
    shown, print_ = os.path.relpath(made.directory), context.console.print
    print_(f"[bold green]written[/]: [bold]{escape(shown)}[/] ({escape(made.summary)})")
    print_(f"  first stage:    {escape(made.first_stage)}")
    words = ["--board", arguments.name]
    if made.directory.parent != ROOT / "boards":
        words += ["--boards-dir", os.path.relpath(made.directory.parent)]
    print_(f"  check by hand:  {escape(shown)}/README.md")
    print_(f"  build it:       {escape(typed(*words))}")
    print_(f"  try it:         {escape(typed('test', *words))}")
    for warning in made.warnings:
        print_(f"[bold yellow]{escape(warning)}[/]")
    return 0


def _place(directory: Path | None, name: str) -> Path:
    if directory is None:
        return ROOT / "boards" / name
    path = directory.absolute()
    return path if path.name == name else path / name


def show(arguments: argparse.Namespace, context: Context) -> int:
    """Print what a hardware export says."""
    export = open_export(arguments.file)
    design = read_design(export)
    system = read_system(design)
    facts = [
        ("design", f"{design.name}, Vivado {design.vivado or 'of unknown version'}"),
        ("part", f"{design.part} ({design.soc.value})"),
        *([("board part", design.board)] if design.board else []),
        ("memory", f"{system.memory_size >> 20} MB{', ECC' if system.ecc else ''}"),
        ("crystal", f"{system.crystal:g} MHz"),
        ("processor", f"{system.processor:g} MHz"),
        ("start-up code", ", ".join(export.named("_init_gpl.c")) or "none"),
        ("bitstream", ", ".join(export.named(".bit")) or "none"),
    ]
    _table(context.console, facts)
    context.console.print("\n[bold]processing system[/]")
    _table(
        context.console,
        [
            (
                each.name,
                each.pins or "-",
                ", ".join(f"{key} {word}" for key, word in each.details.items()),
            )
            for each in system.peripherals
        ],
    )
    blocks = describe(design).blocks
    context.console.print(f"\n[bold]programmable logic[/]: {len(blocks)} blocks")
    _table(
        context.console,
        [
            (
                f"{each.ranges[0].base:#010x}",
                f"{each.ranges[0].size:#x}",
                each.block.path,
                each.block.kind,
                "UIO" if each.uio else each.driver,
                "" if each.interrupt is None else f"interrupt {each.interrupt}",
            )
            for each in blocks
        ],
    )
    return 0


def _table(console: Console, rows: Sequence[Sequence[str]]) -> None:
    for line in columns(rows) if rows else ():
        console.print(f"  {escape(line)}")


def declare(verbs: Verbs) -> None:
    """Declare the commands of this module."""
    verb = verbs.add("new-board", create, "write a new board's directory from a hardware export")
    verb.add_argument("name", metavar="NAME", help="the new board's name")
    export = verb.add_argument(
        "--xsa", type=Path, required=True, metavar="FILE",
        help="Vivado's hardware export (.xsa), or a .hwh out of one",
    )  # fmt: skip
    completed(export, shtab.FILE)
    like = verb.add_argument(
        "--like", metavar="BOARD",
        help="make it a variant of this board, whose PHY, flash, LEDs and the like it has",
    )  # fmt: skip
    completed(like, BOARDS)
    place = verb.add_argument(
        "--directory", type=Path, metavar="DIR",
        help="where to write it: a directory of boards, or its own (default: boards/NAME of the tree)",
    )  # fmt: skip
    completed(place, shtab.DIRECTORY)
    profile = verb.add_argument(
        "--profile", metavar="NAME", help="profile of recipes (default: pynq)"
    )
    completed(profile, PROFILES)
    verb.add_argument(
        "--start-up-table", metavar="BOARD", dest="table",
        help="a board that U-Boot has the start-up table of, for exports without ps7_init or psu_init",
    )  # fmt: skip
    verb.add_argument(
        "--console", type=int, metavar="N", help="the UART of the console, if there are several"
    )
    verb.add_argument(
        "--card", type=int, metavar="N", help="the SD controller of the slot, if there are several"
    )
    verb = verbs.add("hardware", show, "show what is in a hardware export")
    export = verb.add_argument("file", type=Path, metavar="FILE", help="an .xsa or a .hwh")
    completed(export, shtab.FILE)
