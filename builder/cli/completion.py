# SPDX-License-Identifier: MIT
"""Completion of the command line in shells."""

from __future__ import annotations

import argparse
import sys
from functools import partial

import shtab

from builder.cli.context import Context
from builder.cli.options import BOARD_NAMES, Verbs

# Boards of the tree: the directory `boards` beside the program that is being completed.
_PREAMBLE = {
    "bash": f"""
{BOARD_NAMES}() {{
    local program=$(command -v -- "${{COMP_WORDS[0]}}")
    compgen -W "$(cd -- "$(dirname -- "$program")/boards" 2>/dev/null && printf '%s\\n' *)" -- "$1"
}}
""",
    "zsh": f"""
{BOARD_NAMES}() {{
    compadd -- ${{${{(Q)words[1]}}:A:h}}/boards/*(/N:t)
}}
""",
}


def completion(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    context: Context,
) -> int:
    """Print a shell's script that completes this command line."""
    sys.stdout.write(
        shtab.complete(parser, arguments.shell, preamble=_PREAMBLE[arguments.shell]) + "\n"
    )
    return 0


def declare(verbs: Verbs) -> None:
    """Declare the command of this module."""
    verb = verbs.add(
        "completion",
        partial(completion, verbs.parser),
        'print a script for completion: eval "$(./build.py completion bash)"',
    )
    verb.add_argument("shell", choices=sorted(_PREAMBLE), help="the shell")
