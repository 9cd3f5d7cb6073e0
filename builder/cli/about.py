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
    """Return the builder's version, and the commit of a checkout."""
    (number,) = re.findall(
        r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    commit = _commit()
    return f"{number} (commit {commit})" if commit else number


def _commit() -> str:
    """Return the commit that is checked out, `-dirty` if files differ; empty without git."""
    if not (ROOT / ".git").exists():
        return ""
    # The checkout may be another user's: builds run by sudo.
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
    """Option that prints the version and ends the program."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - argparse passes it
        values: str | Sequence[object] | None,  # noqa: ARG002
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        sys.stdout.write(f"{parser.prog} {version()}\n")
        parser.exit()


def helped(verbs: Verbs, arguments: argparse.Namespace, context: Context) -> int:
    """Print the help of the program, or of one of its commands."""
    if arguments.command is None:
        verbs.parser.print_help()
    elif arguments.command in verbs.parsers:
        verbs.parsers[arguments.command].print_help()
    else:
        near = closest(arguments.command, verbs.parsers)
        raise UserError(f"there is no command {arguments.command}{near}")
    return 0


def declare(verbs: Verbs) -> None:
    """Declare the command and the option of this module."""
    verbs.parser.add_argument(
        "--version", action=_Version, nargs=0, help="print the version and the commit, and exit"
    )
    verb = verbs.add("help", partial(helped, verbs), "show the help of a command, or of all")
    verb.add_argument("command", nargs="?", metavar="COMMAND", help="the command")
