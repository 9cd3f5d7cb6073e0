# SPDX-License-Identifier: MIT
"""Reports of errors on the console, without tracebacks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from builder.cli.context import typed
from builder.errors import BuildError
from builder.scheduler.scheduler import StepFailure

_FROM_INPUT = ["/bin/sh", "-eu", "-s"]
"""Last words of the command that runs a recipe's script in the root filesystem."""


def error_console() -> Console:
    """Return the console on standard error."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def report(error: BuildError, console: Console, *, same: Sequence[str] = ()) -> int:
    """Print an error and return its exit code.

    `same` are the options that select the failed image in other commands.
    """
    cause = error.cause if isinstance(error, StepFailure) else error
    console.print(f"[bold red]error:[/] {escape(message(error))}")
    for line in error.details:
        console.print(f"  {escape(line)}")
    if isinstance(error, StepFailure):
        # If the step has a shell, the command's working directory no longer exists.
        look = typed("shell", error.step, "--board", error.board, *same) if error.board else ""
        if error.replay and not (error.has_shell and look):
            gone = " (its directory no longer exists)" if _directory_gone(error.replay) else ""
            console.print(f"[bold]command{gone}:[/] {escape(error.replay)}")
        console.print(f"[bold]log:[/] {escape(str(error.log))}")
        if error.has_shell and look:
            console.print(f"[bold]look around:[/] {escape(look)}")
    if error.hint:
        console.print(f"[bold]hint:[/] {escape(error.hint)}")
    return cause.exit_code


def message(error: BuildError) -> str:
    """Return an error's message, with the name of a recipe's script instead of its interpreter."""
    if not (isinstance(error, StepFailure) and error.replay):
        return error.message
    words = error.replay.split()
    program = r"(?<=failed: )\S+(?= ended with)"
    if words[-len(_FROM_INPUT) :] == _FROM_INPUT:
        name = f"script of {error.step.replace(':', ' ')} for the target"
        return re.sub(program, lambda _: name, error.message, count=1)
    started = [after for before, after in pairwise(words) if before.endswith("/enter")]
    if started:
        return re.sub(program, lambda _: Path(started[0]).name, error.message, count=1)
    return error.message


def _directory_gone(replay: str) -> bool:
    """Return whether a command names a directory that no longer exists."""
    words = [Path(word) for word in replay.split() if word.startswith("/")]
    return any(not word.exists() and not word.parent.exists() for word in words)
