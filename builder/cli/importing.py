# SPDX-License-Identifier: MIT
"""The command that brings boards of PYNQ's sdbuild over."""

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


def declare(verbs: Verbs) -> None:
    """Declare the command."""
    parser = verbs.add("import-spec", import_spec, "convert boards of PYNQ's sdbuild to ours")
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="a board of sdbuild's, or a directory of such"
    )
    parser.add_argument(
        "--to", type=Path, default=Path("imported-boards"), metavar="DIR",
        help="where the boards' directories are made (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--board", action="append", dest="boards", metavar="NAME",
        help="this board of the directory alone (may be repeated)",
    )  # fmt: skip
    like = parser.add_argument(
        "--like", metavar="BOARD",
        help="the hardware is as of this board: memory, console, device tree, start-up",
    )  # fmt: skip
    completed(like, BOARDS)
    parser.add_argument(
        "--bsp", choices=[name for name in get_args(Provider) if name != "prebuilt"],
        metavar="PROVIDER",
        help="who is to make the boot files (default: whoever can): %(choices)s",
    )  # fmt: skip
    parser.add_argument(
        "--fetch",
        action="store_true",
        help="fetch BSPs of which only a URL is given, for their sha256",
    )
    parser.add_argument("--json", action="store_true", help="print the reports as JSON")


def import_spec(arguments: argparse.Namespace, context: Context) -> int:
    """Convert boards of sdbuild's to ours, and say what became of each of their files."""
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
    wish = ImportRequest(like=arguments.like, provider=arguments.bsp, fetch=arguments.fetch)
    target = arguments.to.resolve()
    reports: list[Report] = []
    failures: list[UserError] = []
    for source in sources:
        try:
            reports.append(import_board(source, target, context.tree, wish))
        except UserError as error:
            failures.append(error)
    if arguments.json:
        print(json.dumps([report.json() for report in reports], indent=2))  # noqa: T201
    else:
        _show(context, reports, os.path.relpath(target))
    if failures:
        raise _together(failures)
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


def _together(failures: Sequence[UserError]) -> UserError:
    if len(failures) == 1:
        return failures[0]
    return UserError(
        f"{len(failures)} boards could not be read",
        details=[each.message for each in failures],
        hint="; ".join(dict.fromkeys(each.hint for each in failures if each.hint)) or None,
    )
