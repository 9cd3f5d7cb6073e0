# SPDX-License-Identifier: MIT
"""The command `import-spec`: converts boards of PYNQ's sdbuild."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.markup import escape

from builder.cli.context import Context, typed
from builder.cli.options import BOARDS, Verbs, completed
from builder.errors import UserError
from builder.sdbuild_import.importer import ImportRequest, find_boards, import_board
from builder.sdbuild_import.report import Report
from builder.spec.models import Provider


def register(verbs: Verbs) -> None:
    """Register the command."""
    parser = verbs.add(
        "import-spec",
        import_spec,
        "convert boards of PYNQ's sdbuild to this builder's format",
        group="boards",
        examples=[
            "import-spec ../PYNQ/boards/Pynq-Z1",
            "import-spec ../PYNQ/boards --board ZCU104 --to my-boards",
        ],
    )
    parser.add_argument(
        "directory",
        type=Path,
        metavar="DIR",
        help="directory of a board of sdbuild, or of several boards",
    )
    parser.add_argument(
        "--to", type=Path, default=Path("imported-boards"), metavar="DIR",
        help="directory in which the boards' directories are created (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--board", action="append", dest="boards", metavar="NAME",
        help="convert only this board (repeatable)",
    )  # fmt: skip
    like = parser.add_argument(
        "--like", metavar="BOARD",
        help="take the hardware description from this board: memory, console, device tree, PS start-up",
    )  # fmt: skip
    completed(like, BOARDS)
    parser.add_argument(
        "--bsp", choices=[name for name in get_args(Provider) if name != "prebuilt"],
        metavar="PROVIDER",
        help="provider of the boot files (default: selected from the board's files): %(choices)s",
    )  # fmt: skip
    parser.add_argument(
        "--fetch",
        action="store_true",
        help="download BSPs that have only a URL, to record their sha256",
    )
    parser.add_argument("--json", action="store_true", help="print the reports as JSON")


def import_spec(arguments: argparse.Namespace, context: Context) -> int:
    """Convert boards of sdbuild and report the use of each of their files."""
    sources = find_boards(arguments.directory)
    if arguments.boards:
        names = {source.name: source for source in sources}
        unknown = [name for name in arguments.boards if name not in names]
        if unknown:
            raise UserError(
                f"{arguments.directory} has no board {', '.join(unknown)}",
                hint=f"it has {', '.join(names)}",
            )
        sources = [names[name] for name in arguments.boards]
    request = ImportRequest(like=arguments.like, provider=arguments.bsp, fetch=arguments.fetch)
    target = arguments.to.resolve()
    reports: list[Report] = []
    failures: list[UserError] = []
    for source in sources:
        try:
            reports.append(import_board(source, target, context.tree, request))
        except UserError as error:
            failures.append(error)
    if arguments.json:
        print(json.dumps([report.json() for report in reports], indent=2))  # noqa: T201
    else:
        _show(context, reports, os.path.relpath(target))
    if failures:
        raise _combined(failures)
    return 0 if all(report.directory for report in reports) else UserError.exit_code


def _show(context: Context, reports: Sequence[Report], target: str) -> None:
    for report in reports:
        for line in report.text():
            context.console.print(escape(line))
        if report.directory and report.problems:
            again = typed("validate", os.path.relpath(report.directory))
            context.console.print(f"\n  then: {escape(again)}\n")
        elif report.directory:
            command = typed("plan", "--board", report.board, "--boards-dir", target)
            context.console.print(f"\n  next: {escape(command)}\n")


def _combined(failures: Sequence[UserError]) -> UserError:
    if len(failures) == 1:
        return failures[0]
    return UserError(
        f"{len(failures)} boards could not be read",
        details=[each.message for each in failures],
        hint="; ".join(dict.fromkeys(each.hint for each in failures if each.hint)) or None,
    )
