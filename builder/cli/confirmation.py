# SPDX-License-Identifier: MIT
"""Questions on the terminal before something is lost."""

from __future__ import annotations

import sys

from builder.errors import Interrupted, UserError


def ask(question: str, *, yes: bool, refused: str) -> None:
    """Ask a question to be answered by `yes`, unless the command line has `--yes`.

    Raises:
        UserError: there is nobody to ask.
        Interrupted: the answer was not yes; its message is `refused`.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("there is nobody to ask whether it may", hint="add --yes")
    try:
        answer = input(f"{question} Type yes: ")
    except EOFError:
        answer = ""
    if answer.strip().lower() != "yes":
        raise Interrupted(refused)
