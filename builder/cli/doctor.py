# SPDX-License-Identifier: MIT
"""The command `doctor`."""

from __future__ import annotations

import argparse

from rich.markup import escape

from builder.cli.build_environment import chosen
from builder.cli.context import Context
from builder.cli.options import Verbs
from builder.engine.requirements import missing_requirements
from builder.errors import HostError


def doctor(arguments: argparse.Namespace, context: Context) -> int:
    """Print the requirements that this machine does not meet, and how to fix them."""
    docker = chosen(context.engine)
    if docker:
        docker.close()
        context.console.print("builds run in containers: the Docker daemon answers")
    found = missing_requirements(context.store, in_container=docker is not None)
    for lack in found:
        word = "[red]missing:[/]  " if lack.vital else "[yellow]short of:[/] "
        context.console.print(f"{word}{escape(lack.what)}\n          {escape(lack.mend)}")
    if any(lack.vital for lack in found):
        return HostError.exit_code
    if not found:
        context.console.print("[green]this machine meets all requirements[/]")
    return 0


def register(verbs: Verbs) -> None:
    """Register the command."""
    verbs.add(
        "doctor",
        doctor,
        "list missing requirements of this machine, and how to fix them",
        group="build",
        examples=["doctor", "doctor --engine host"],
    )
