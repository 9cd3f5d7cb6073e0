# SPDX-License-Identifier: MIT
"""Parses the command line, runs a command, and turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType

from builder.cli import (
    about,
    cleaning,
    commands,
    completion,
    customize,
    flash,
    importing,
    inspect,
    lock,
    porting,
    reference,
    settings,
)
from builder.cli.context import Context
from builder.cli.errors import error_console, message, report
from builder.cli.options import Command, Verbs
from builder.errors import BuildError, Interrupted, UserError
from builder.report.console import make_view
from builder.report.events import CommandFailed
from builder.sandbox.disk_space import full_disk

_DESCRIPTION = """\
Builds SD-card images for Zynq boards and proves them by booting them under QEMU.

    build.py --board Pynq-Z2            build the image
    build.py test --board Pynq-Z2       boot it under QEMU and check it
    build.py plan --board Pynq-Z2       what would be built, and why
    build.py --all                      build the images of all boards
"""


_NOBODY_READS = 128 + signal.SIGPIPE


def main(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code.

    0 done, 1 a bug of ours, 2 the user's input, 3 a step failed, 4 the machine lacks something,
    130 interrupted, 141 nobody reads the output any more (`| head`).
    """
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is left to write would be complained of at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOBODY_READS


def _run(argv: Sequence[str]) -> int:
    os.umask(0o022)
    parser, verbs = parsers()
    arguments = parser.parse_args(_command_first(argv, verbs.parsers))
    errors = error_console()
    try:
        if hasattr(arguments, "settings"):
            arguments.settings = settings.given(arguments.settings)
        _check_directories(arguments.boards_dir)
        context = Context(
            boards_dirs=[Path(path).resolve() for path in arguments.boards_dir],
            store=Path(arguments.store).resolve(),
            store_size=arguments.store_size,
            output=Path(arguments.output).resolve(),
            progress=arguments.progress,
            engine=arguments.engine,
            argv=tuple(settings.without(argv)),
            settings=tuple(getattr(arguments, "settings", ())),
        )
        signal.signal(signal.SIGTERM, _terminated)
        run: Command = arguments.run
        return run(arguments, context)
    except KeyboardInterrupt:
        errors.print("[red]interrupted[/]")
        return _ended(Interrupted("interrupted"), Interrupted.exit_code, arguments.progress)
    except BuildError as error:
        return _ended(error, report(error, errors), arguments.progress)
    except PermissionError as error:
        problem = UserError(f"{error.filename}: {error.strerror}", hint="look at its owner")
        return _ended(problem, report(problem, errors), arguments.progress)
    except BrokenPipeError:
        raise
    except OSError as error:
        full = full_disk(error, [Path(arguments.store), Path(arguments.output)])
        if full is None:
            raise
        return _ended(full, report(full, errors), arguments.progress)


def _ended(error: BuildError, status: int, progress: str) -> int:
    """Tell programs that read events of an error, too; return the exit code."""
    if progress == "json":
        make_view(progress, error_console())(
            CommandFailed(
                status=status, message=message(error), hint=error.hint, details=error.details
            )
        )
    return status


def _check_directories(names: Sequence[str]) -> None:
    for name in names:
        if not Path(name).is_dir():
            raise UserError(f"--boards-dir {name}: there is no such directory")


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _command_first(argv: Sequence[str], verbs: Mapping[str, argparse.ArgumentParser]) -> list[str]:
    """Put the command before its options: `--board X plan` is `plan --board X`.

    Without a command, `--board X` is `build --board X`.
    """
    words = list(argv) or ["--help"]
    if not words[0].startswith("-") or words[0] in ("-h", "--help", "--version"):
        return words
    # `--board plan` is a board's name.
    with_value = {
        option
        for verb in verbs.values()
        for action in verb._actions  # noqa: SLF001 - argparse has no other way to ask
        if action.nargs is None
        for option in action.option_strings
    }
    for index, (before, word) in enumerate(pairwise(words), start=1):
        if word in verbs and before not in with_value:
            return [words.pop(index), *words]
    return ["build", *words]


def parsers() -> tuple[argparse.ArgumentParser, Verbs]:
    """Return the parser of the command line, and its commands."""
    parser = argparse.ArgumentParser(
        prog="build.py",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verbs = Verbs(parser)
    for module in (
        commands,
        inspect,
        porting,
        importing,
        flash,
        customize,
        lock,
        cleaning,
        reference,
        completion,
        about,
    ):
        module.declare(verbs)
    return parser, verbs
