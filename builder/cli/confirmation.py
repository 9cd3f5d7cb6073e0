# SPDX-License-Identifier: MIT
"""Confirmation on the terminal before data is deleted."""

from __future__ import annotations

import sys

from builder.errors import Interrupted, UserError


def ask(question: str, *, yes: bool, refused: str) -> None:
    """Ask for confirmation, unless the command line has `--yes`.

    Raises:
        UserError: standard input is no terminal.
        Interrupted: the answer was not `yes`; the message is `refused`.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(
            "cannot ask for confirmation: standard input is no terminal", hint="add --yes"
        )
    try:
        answer = input(f"{question} Type yes: ")
    except EOFError:
        answer = ""
    if answer.strip().lower() != "yes":
        raise Interrupted(refused)
