# SPDX-License-Identifier: MIT
"""The commands `new-board` and `hardware`, which read a hardware export of Vivado."""

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
    """Print the content of a hardware export."""
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


def register(verbs: Verbs) -> None:
    """Register the commands."""
    verb = verbs.add(
        "new-board",
        create,
        "create a new board's directory from a hardware export",
        group="boards",
        examples=[
            "new-board My-Board --xsa design.xsa",
            "new-board My-Z2 --xsa design.xsa --like Pynq-Z2 --directory ../my-boards",
        ],
    )
    verb.add_argument("name", metavar="NAME", help="name of the new board")
    export = verb.add_argument(
        "--xsa", type=Path, required=True, metavar="FILE",
        help="hardware export of Vivado (.xsa), or a .hwh from one",
    )  # fmt: skip
    completed(export, shtab.FILE)
    like = verb.add_argument(
        "--like", metavar="BOARD",
        help="create a variant of this board, with its PHY, flash, LEDs etc.",
    )  # fmt: skip
    completed(like, BOARDS)
    place = verb.add_argument(
        "--directory", type=Path, metavar="DIR",
        help="a directory of boards, or the new board's own directory (default: boards/NAME in the tree)",
    )  # fmt: skip
    completed(place, shtab.DIRECTORY)
    profile = verb.add_argument(
        "--profile", metavar="NAME", help="profile of recipes (default: pynq)"
    )
    completed(profile, PROFILES)
    verb.add_argument(
        "--start-up-table", metavar="BOARD", dest="table",
        help="U-Boot's board with the PS start-up table to use, for exports without ps7_init or psu_init",
    )  # fmt: skip
    verb.add_argument(
        "--console",
        type=int,
        metavar="N",
        help="number of the console's UART, if there are several",
    )
    verb.add_argument(
        "--card",
        type=int,
        metavar="N",
        help="number of the card slot's SD controller, if there are several",
    )
    verb = verbs.add(
        "hardware",
        show,
        "show the content of a hardware export",
        group="boards",
        examples=["hardware design.xsa", "hardware design.hwh"],
    )
    export = verb.add_argument("file", type=Path, metavar="FILE", help=".xsa or .hwh file")
    completed(export, shtab.FILE)
