# SPDX-License-Identifier: MIT
"""Parser of the command line, and main function: runs a command and reports its errors."""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType

from builder.cli import (
    about,
    boards,
    build,
    cache,
    cleaning,
    completion,
    customize,
    doctor,
    flash,
    importing,
    inspect,
    lock,
    plan,
    porting,
    reference,
    settings,
    shell,
    test,
)
from builder.cli.context import Context, default_store
from builder.cli.errors import error_console, message, report
from builder.cli.options import Command, MainParser, Verbs
from builder.errors import BuildError, Interrupted, UserError
from builder.report.console import make_view
from builder.report.events import CommandFailed
from builder.sandbox.disk_space import full_disk
from builder.spec.reader import closest

_DESCRIPTION = """\
Builds SD-card images for Zynq boards and tests them by booting them under QEMU.

  build.py --board Pynq-Z2            build the image
  build.py test --board Pynq-Z2       boot it under QEMU and check it
  build.py plan --board Pynq-Z2       list the steps to build, with reasons
  build.py --all                      build the images of all boards

`build.py help COMMAND` shows the options of a command.
"""

_MODULES = (
    *(build, test, plan, shell, doctor),
    *(boards, inspect, porting, importing),
    *(flash, customize),
    *(cache, cleaning),
    *(lock, reference, completion, about),
)
"""Modules with commands, in the order of the help."""

_BROKEN_PIPE = 128 + signal.SIGPIPE


def main(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code, one of `options.EXIT_CODES`."""
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Without this, Python reports the unwritten rest of the output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE


def _run(argv: Sequence[str]) -> int:
    os.umask(0o022)
    parser, verbs = parsers()
    words = _command_first(argv, verbs.parsers)
    _check_spelling(words, parser, verbs.parsers)
    arguments = parser.parse_args(words)
    errors = error_console()
    try:
        if hasattr(arguments, "settings"):
            arguments.settings = settings.given(arguments.settings)
        context = Context.from_arguments(arguments, argv)
        signal.signal(signal.SIGTERM, _terminated)
        run: Command = arguments.run
        return run(arguments, context)
    except KeyboardInterrupt:
        errors.print("[red]interrupted[/]")
        return _ended(Interrupted("interrupted"), Interrupted.exit_code, arguments.progress)
    except BuildError as error:
        return _ended(error, report(error, errors), arguments.progress)
    except PermissionError as error:
        problem = UserError(
            f"{error.filename}: {error.strerror}", hint="check the owner and mode of this file"
        )
        return _ended(problem, report(problem, errors), arguments.progress)
    except BrokenPipeError:
        raise
    except OSError as error:
        full = full_disk(error, [Path(arguments.store or default_store()), Path(arguments.output)])
        if full is None:
            raise
        return _ended(full, report(full, errors), arguments.progress)


def _ended(error: BuildError, status: int, progress: str) -> int:
    """Emit an event about an error if events are printed as JSON; return the exit code."""
    if progress == "json":
        make_view(progress, error_console())(
            CommandFailed(
                status=status, message=message(error), hint=error.hint, details=error.details
            )
        )
    return status


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _command_first(argv: Sequence[str], verbs: Mapping[str, argparse.ArgumentParser]) -> list[str]:
    """Move the command before its options: `--board X plan` is `plan --board X`.

    Without a command, `--board X` is `build --board X`.
    """
    words = list(argv) or ["--help"]
    if not words[0].startswith("-") or words[0] in ("-h", "--help", "--version"):
        return words
    # In `--board plan`, the word is the name of a board.
    with_value = {name for verb in verbs.values() for name in _options(verb, with_value=True)}
    for index, (before, word) in enumerate(pairwise(words), start=1):
        if word in verbs and before not in with_value:
            return [words.pop(index), *words]
    return ["build", *words]


def _check_spelling(
    words: Sequence[str],
    parser: argparse.ArgumentParser,
    verbs: Mapping[str, argparse.ArgumentParser],
) -> None:
    """Exit with a suggestion if the command or an option is misspelt.

    argparse itself names the first missing option instead.
    """
    command, *rest = words
    if command.startswith("-"):
        return
    if command not in verbs:
        parser.error(f"there is no command {command}{closest(command, verbs)}")
    verb = verbs[command]
    options, with_value = _options(verb), {*_options(verb, with_value=True)}
    for before, word in pairwise(["", *rest]):
        name = word.partition("=")[0]
        if name.startswith("--") and name != "--" and before not in with_value:
            near = [] if name in options else difflib.get_close_matches(name, options, n=1)
            if near:
                verb.error(f"there is no option {name} (did you mean {near[0]}?)")


def _options(verb: argparse.ArgumentParser, *, with_value: bool = False) -> list[str]:
    """Return the names of a command's options, or only of those that take a value."""
    return [
        name
        for action in verb._actions  # noqa: SLF001 - argparse has no public list
        if action.nargs is None or not with_value
        for name in action.option_strings
    ]


def parsers() -> tuple[argparse.ArgumentParser, Verbs]:
    """Return the parser of the command line, and its commands."""
    parser = MainParser(prog="build.py", description=_DESCRIPTION)
    verbs = Verbs(parser)
    for module in _MODULES:
        module.register(verbs)
    return parser, verbs
