# SPDX-License-Identifier: MIT
"""The command `help`, and the option `--version`."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from builder.cli.context import ROOT, Context
from builder.cli.options import Verbs
from builder.errors import UserError
from builder.spec.reader import closest


def version() -> str:
    """Return the version, with the commit if this is a git checkout."""
    (number,) = re.findall(
        r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    commit = _commit()
    return f"{number} (commit {commit})" if commit else number


def _commit() -> str:
    """Return the current commit, with `-dirty` if files were changed; empty without git."""
    if not (ROOT / ".git").exists():
        return ""
    # With sudo, the checkout belongs to another user, which git refuses by default.
    words = [
        "git",
        "-c",
        f"safe.directory={ROOT}",
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
    ]
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


class _Version(argparse.Action):
    """Option that prints the version and exits."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - argparse passes it
        values: str | Sequence[object] | None,  # noqa: ARG002
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        sys.stdout.write(f"{parser.prog} {version()}\n")
        parser.exit()


def show_help(verbs: Verbs, arguments: argparse.Namespace, context: Context) -> int:
    """Print the help of the program or of a command."""
    if arguments.command is None:
        verbs.parser.print_help()
    elif arguments.command in verbs.parsers:
        verbs.parsers[arguments.command].print_help()
    else:
        near = closest(arguments.command, verbs.parsers)
        raise UserError(f"there is no command {arguments.command}{near}")
    return 0


def register(verbs: Verbs) -> None:
    """Register the command `help` and the option `--version`."""
    verbs.parser.add_argument(
        "--version", action=_Version, nargs=0, help="print the version and the commit"
    )
    verb = verbs.add(
        "help",
        partial(show_help, verbs),
        "show the help of a command, or of the program",
        group="general",
        examples=["help", "help plan"],
    )
    verb.add_argument("command", nargs="?", metavar="COMMAND", help="the command")
