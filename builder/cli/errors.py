# SPDX-License-Identifier: MIT
"""How an error is told: one report, without a traceback."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from builder.cli.context import typed
from builder.errors import BuildError
from builder.plan.build import StepFailure


def error_console() -> Console:
    """Return the console that errors go to."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def report(error: BuildError, console: Console) -> int:
    """Print an error as one report and return its exit code."""
    cause = error.cause if isinstance(error, StepFailure) else error
    console.print(f"[bold red]error:[/] {escape(error.message)}")
    for line in error.details:
        console.print(f"  {escape(line)}")
    if isinstance(error, StepFailure):
        if error.replay:
            console.print(f"[bold]command:[/] {escape(error.replay)}")
        console.print(f"[bold]log:[/] {escape(str(error.log))}")
        if error.has_shell:
            command = typed("shell", error.step, "--board", error.board)
            console.print(f"[bold]look around:[/] {escape(command)}")
    if error.hint:
        console.print(f"[bold]hint:[/] {escape(error.hint)}")
    return cause.exit_code
