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
from typing import get_args

from builder.cli import commands
from builder.cli.context import DEFAULT_STORE_SIZE, Context, default_store
from builder.cli.errors import error_console, report
from builder.errors import BuildError, Interrupted, UserError
from builder.spec.models import Provider, parse_size

_DESCRIPTION = """\
Builds SD-card images for Zynq boards and proves them by booting them under QEMU.

    build.py --board Pynq-Z2            build the image
    build.py test --board Pynq-Z2       boot it under QEMU and check it
    build.py plan --board Pynq-Z2       what would be built, and why
    build.py --all                      build the images of all boards
"""


def main(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code.

    0 done, 1 a bug of ours, 2 the user's input, 3 a step failed, 4 the machine lacks something,
    130 interrupted.
    """
    os.umask(0o022)
    parser, verbs = _parsers()
    arguments = parser.parse_args(_command_first(argv, verbs))
    errors = error_console()
    try:
        _check_directories(arguments.boards_dir)
        context = Context(
            boards_dirs=[Path(path).resolve() for path in arguments.boards_dir],
            store=Path(arguments.store).resolve(),
            store_size=arguments.store_size,
            output=Path(arguments.output).resolve(),
            progress=arguments.progress,
            engine=arguments.engine,
            argv=tuple(argv),
        )
        signal.signal(signal.SIGTERM, _terminated)
        run: commands.Command = arguments.run
        return run(arguments, context)
    except KeyboardInterrupt:
        errors.print("[red]interrupted[/]")
        return Interrupted.exit_code
    except BuildError as error:
        return report(error, errors)
    except PermissionError as error:
        problem = UserError(f"{error.filename}: {error.strerror}", hint="look at its owner")
        return report(problem, errors)
    except BrokenPipeError:
        # Whoever read our output (`| head`) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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
    if not words[0].startswith("-") or words[0] in ("-h", "--help"):
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


def _parsers() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, and that of each command."""
    parser = argparse.ArgumentParser(
        prog="build.py",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    places = common.add_argument_group("places")
    places.add_argument(
        "--boards-dir", action="append", default=[], metavar="DIR",
        help="another directory of boards (may be repeated)",
    )  # fmt: skip
    places.add_argument(
        "--store", default=str(default_store()), metavar="DIR",
        help="where outputs of steps are kept (default: %(default)s)",
    )  # fmt: skip
    places.add_argument(
        "--store-size", type=_size, default=DEFAULT_STORE_SIZE, metavar="SIZE",
        help="most that the store may take; the least recently used goes (default: %(default)s)",
    )  # fmt: skip
    places.add_argument(
        "--output", default="output", metavar="DIR", help="where results go (default: %(default)s)"
    )
    places.add_argument(
        "--progress", choices=("auto", "live", "plain", "json"), default="auto",
        help="how progress is shown (default: %(default)s)",
    )  # fmt: skip

    places.add_argument(
        "--engine", choices=("auto", "docker", "host"), default="auto",
        help="where builds run: in containers, or on this machine, which must have all that they "
        "need (default: docker where a daemon answers)",
    )  # fmt: skip

    image = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    group = image.add_argument_group("the image")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--board", action="append", metavar="NAME", dest="boards",
        help="the board, as `boards` lists them (may be repeated)",
    )  # fmt: skip
    which.add_argument("--all", action="store_true", help="all boards that `boards` lists")
    group.add_argument("--distro", metavar="NAME", help="use this distribution and no other")
    group.add_argument(
        "--set", action="append", default=[], metavar="RECIPE.PARAMETER=VALUE", dest="settings",
        help="set a recipe's parameter, as `recipes` lists them (may be repeated)",
    )  # fmt: skip
    group.add_argument(
        "--compress", choices=("xz", "zst"), help="also make the image as a compressed file"
    )
    group.add_argument(
        "--boot-files", type=Path, metavar="PATH",
        help="take boot files and modules from this directory or zip file instead of building them",
    )  # fmt: skip
    group.add_argument(
        "--bsp", choices=get_args(Provider), metavar="PROVIDER",
        help="who makes the boot files, whatever the board says: %(choices)s",
    )  # fmt: skip
    group.add_argument(
        "--petalinux-installer", type=Path, metavar="PATH",
        help="AMD's PetaLinux installer, petalinux-vRELEASE-...-installer.run",
    )  # fmt: skip
    group.add_argument(
        "--accept-petalinux-license", action="store_true",
        help="accept AMD's licences of PetaLinux, without which it is not installed",
    )  # fmt: skip
    network = group.add_mutually_exclusive_group()
    network.add_argument(
        "--update", action="store_true", help="fetch the package indexes anew, choose the "
        "distribution anew",
    )  # fmt: skip
    network.add_argument("--offline", action="store_true", help="use nothing from the network")
    group.add_argument(
        "--no-native", dest="native", action="store_false",
        help="emulate all that runs in the root filesystem; slower, for the same result",
    )  # fmt: skip

    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str, run: commands.Command, summary: str, *, spec: bool = False
    ) -> argparse.ArgumentParser:
        verb = verbs.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            parents=[image, common] if spec else [common],
            allow_abbrev=False,
        )
        verb.set_defaults(run=run)
        return verb

    build = command("build", commands.build, "build the boards' images (the default)", spec=True)
    build.add_argument(
        "--jobs", type=_positive, default=2, metavar="N",
        help="steps that run at once (default: %(default)s)",
    )  # fmt: skip
    command("plan", commands.plan, "show which steps are kept, and why others are not", spec=True)
    test = command("test", commands.test, "boot the images under QEMU and check them", spec=True)
    test.add_argument("-k", metavar="EXPRESSION", help="only the checks that match, as pytest's -k")
    shell = command(
        "shell", commands.shell, "open a shell in a step's environment, of one board", spec=True
    )
    shell.add_argument("step", help="the step, as `plan` lists them")
    command("boards", commands.boards, "list the boards")
    command("recipes", commands.recipes, "list the recipes and their parameters")
    command("doctor", commands.doctor, "say what this machine lacks, and what mends it")
    command("cache", commands.cache, "list what the store holds")
    clean = command("clean", commands.clean, "remove results, and with --store-too the store")
    clean.add_argument("--store-too", action="store_true", help="also empty the store")
    schemas = command(
        "schemas", commands.schemas, "write the JSON Schemas and the reference of the YAML files"
    )
    schemas.add_argument("directory", nargs="?", default="docs", help="default: %(default)s")
    return parser, verbs.choices


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number from 1 on")
    return int(text)
