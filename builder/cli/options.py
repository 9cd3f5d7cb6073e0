# SPDX-License-Identifier: MIT
"""Options that commands share, and registration of commands."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import shtab

from builder.cli.context import DEFAULT_OUTPUT, DEFAULT_STORE_SIZE, Context
from builder.engine.engine import processors
from builder.spec.models import Provider
from builder.spec.texts import parse_size

Command: TypeAlias = Callable[[argparse.Namespace, Context], int]
"""A command: takes the parsed arguments and returns an exit code."""

Group: TypeAlias = Literal["build", "boards", "cards", "caches", "developers", "general"]

TITLES: Mapping[Group, str] = {
    "build": "build and test images",
    "boards": "boards and recipes",
    "cards": "cards and finished images",
    "caches": "caches and results",
    "developers": "for developers of the builder",
    "general": "general",
}
"""Title of each group of commands in the main help."""

EXIT_CODES: Mapping[int, str] = {
    0: "success",
    1: "bug in the builder",
    2: "wrong input: command line, board, recipe or file",
    3: "a step or a check failed",
    4: "this machine lacks something",
    130: "interrupted",
    141: "standard output was closed",
}


def _by_function(name: str) -> Mapping[str, str]:
    return {"bash": name, "zsh": name}


# Functions of module `completion` with which shells complete names. shtab recognizes functions that
# also offer files by their names.
BOARDS = _by_function("_builder_boards")
BOARDS_OR_FILES = _by_function("_builder_boards_or_files")
RECIPES = _by_function("_builder_recipes")
PROFILES = _by_function("_builder_profiles")
DISTRIBUTIONS = _by_function("_builder_distributions")
SETTINGS = _by_function("_builder_settings")


_LEAST_STEPS = 2
"""Concurrent steps on a machine with one processor: some steps wait for the network."""

STRICT_ARCHIVE = (
    "fail if packages such as security updates are unavailable, or if package indexes are out of "
    "date (default: continue without them)"
)


class MainParser(argparse.ArgumentParser):
    """Parser of the whole command line; its help lists the commands by group."""

    def __init__(self, *, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.groups: dict[Group, list[tuple[str, str]]] = {name: [] for name in TITLES}

    def format_help(self) -> str:
        """Return the help of the program."""
        width = max(len(name) for rows in self.groups.values() for name, _ in rows)
        parts = [self.format_usage(), f"{self.description}\n".rstrip("\n") + "\n"]
        for group, rows in self.groups.items():
            lines = [f"  {name.ljust(width)}  {summary}\n" for name, summary in rows]
            parts.append(f"{TITLES[group]}:\n{''.join(lines)}")
        formatter = self._get_formatter()
        formatter.start_section("options")
        formatter.add_arguments(action for action in self._actions if action.option_strings)
        formatter.end_section()
        codes = "".join(f"  {code:<3}  {text}\n" for code, text in EXIT_CODES.items())
        return "\n".join([*parts, formatter.format_help(), f"exit codes:\n{codes}"])


class Verbs:
    """The commands of a command line.

    shared: the options of commands that work on images, and those of all commands.
    examples: command lines for each command.
    """

    def __init__(self, parser: MainParser) -> None:
        self.parser = parser
        self.examples: dict[str, Sequence[str]] = {}
        self._verbs = parser.add_subparsers(
            title="commands",
            metavar="COMMAND",
            required=True,
            parser_class=argparse.ArgumentParser,
        )
        self.shared = (_image(), _common())

    def add(
        self,
        name: str,
        run: Command,
        summary: str,
        *,
        group: Group,
        spec: bool = False,
        examples: Sequence[str],
    ) -> argparse.ArgumentParser:
        """Register a command and return its parser.

        Args:
            name: the command.
            run: its function.
            summary: one line about the command, without a full stop.
            group: the group in the main help.
            spec: whether the command has the options that select images.
            examples: command lines, without the name of the program.
        """
        lines = "".join(f"  {self.parser.prog} {example}\n" for example in examples)
        codes = ", ".join(f"{code} {text.partition(':')[0]}" for code, text in EXIT_CODES.items())
        codes = textwrap.fill(codes, width=76, initial_indent="  ", subsequent_indent="  ")
        verb = self._verbs.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"examples:\n{lines}\nexit codes:\n{codes}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=self.shared if spec else self.shared[1:],
            allow_abbrev=False,
        )
        verb.set_defaults(run=run)
        self.parser.groups[group].append((name, summary))
        self.examples[name] = examples
        return verb

    @property
    def parsers(self) -> Mapping[str, argparse.ArgumentParser]:
        """The parser of each command, by name."""
        return self._verbs.choices


def positive(text: str) -> int:
    """Return an option's value as a positive number."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a positive number")
    return int(text)


def steps_at_once(text: str) -> int:
    """Return the value of `--jobs` as a number; `auto` is one step per processor."""
    return max(_LEAST_STEPS, processors()) if text == "auto" else positive(text)


def add_jobs(verb: argparse.ArgumentParser) -> None:
    """Add the option `--jobs`."""
    verb.add_argument(
        "--jobs", type=steps_at_once, default="auto", metavar="N",
        help="maximum number of concurrent steps (default: auto, one per processor but at least "
        "two); compilations run one at a time",
    )  # fmt: skip


def completed(option: argparse.Action, how: Mapping[str, object]) -> None:
    """Set how shells complete an option's value: a function, or one of shtab's constants."""
    option.complete = how  # type: ignore[attr-defined]


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    group = common.add_argument_group("options of all commands")
    option = group.add_argument(
        "--boards-dir", action="append", default=[], metavar="DIR",
        help="additional directory of boards (repeatable)",
    )  # fmt: skip
    completed(option, shtab.DIRECTORY)
    group.add_argument(
        "--store", metavar="DIR",
        help="cache of step outputs (default: environment variable BUILDER_STORE, else "
        "zynq-sd-builder in the user's cache directory)",
    )  # fmt: skip
    group.add_argument(
        "--store-size", type=size_option, default=DEFAULT_STORE_SIZE, metavar="SIZE",
        help="maximum size of the store; the least recently used entries are removed first "
        "(default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--output", default=DEFAULT_OUTPUT, metavar="DIR",
        help="output directory (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--progress", choices=("auto", "live", "plain", "json"), default="auto",
        help="format of progress messages (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--engine", choices=("auto", "docker", "host"), default="auto",
        help="where builds run: in Docker containers, or on this machine, which then needs all tools "
        "(default: docker if a daemon answers, else host)",
    )  # fmt: skip
    return common


def _image() -> argparse.ArgumentParser:
    """Return the options that select an image, and how it is built."""
    image = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    image.set_defaults(only=None, jobs=steps_at_once("auto"))
    group = image.add_argument_group("the image")
    boards = group.add_mutually_exclusive_group(required=True)
    board = boards.add_argument(
        "--board", action="append", metavar="NAME", dest="boards",
        help="board, as listed by `boards` (repeatable)",
    )  # fmt: skip
    completed(board, BOARDS)
    boards.add_argument(
        "--all", action="store_true",
        help="all boards; with --boards-dir, only the boards in these directories",
    )  # fmt: skip
    option = group.add_argument(
        "--distro", metavar="NAME", help="use this distribution, whatever the board lists"
    )
    completed(option, DISTRIBUTIONS)
    option = group.add_argument(
        "--profile", metavar="NAME", help="use this profile of recipes instead of the board's"
    )
    completed(option, PROFILES)
    add_settings(group, "set a recipe's parameter, as listed by `recipes`")
    group.add_argument(
        "--compress", choices=("xz", "zst"), help="also write a compressed copy of the image"
    )
    _boot_files(group)
    _build(group)
    return image


def add_settings(
    group: argparse.ArgumentParser | argparse._ArgumentGroup,
    effect: str,
) -> None:
    """Add the option `--set`; `effect` is the first part of its help."""
    option = group.add_argument(
        "--set", action="append", default=[], metavar="RECIPE.PARAMETER=VALUE", dest="settings",
        help=f"{effect}; VALUE may be @FILE, the content of a file (repeatable)",
    )  # fmt: skip
    completed(option, SETTINGS)


def _boot_files(group: argparse._ArgumentGroup) -> None:
    """Add the options about the provider of the boot files."""
    option = group.add_argument(
        "--boot-files", type=Path, metavar="PATH",
        help="use boot files and kernel modules from this directory or zip file instead of building "
        "them",
    )  # fmt: skip
    completed(option, shtab.FILE)
    group.add_argument(
        "--bsp", choices=get_args(Provider), metavar="PROVIDER",
        help="provider of the boot files, instead of the board's: %(choices)s",
    )  # fmt: skip
    option = group.add_argument(
        "--petalinux-installer", type=Path, metavar="PATH",
        help="AMD's PetaLinux installer, petalinux-vRELEASE-...-installer.run",
    )  # fmt: skip
    completed(option, shtab.FILE)
    group.add_argument(
        "--accept-petalinux-license", action="store_true",
        help="accept AMD's licences of PetaLinux; required to install it",
    )  # fmt: skip


def _build(group: argparse._ArgumentGroup) -> None:
    """Add the options about downloads and the way to build."""
    network = group.add_mutually_exclusive_group()
    network.add_argument(
        "--update", action="store_true",
        help="download current package indexes and select the distribution again",
    )  # fmt: skip
    network.add_argument("--offline", action="store_true", help="do not use the network")
    group.add_argument("--strict-archive", action="store_true", help=STRICT_ARCHIVE)
    add_no_native(group)
    group.add_argument(
        "--no-ccache", dest="ccache", action="store_false",
        help="compile everything, without the compiler cache",
    )  # fmt: skip


def add_no_native(
    group: argparse.ArgumentParser | argparse._ArgumentGroup,
) -> None:
    """Add the option `--no-native`."""
    group.add_argument(
        "--no-native", dest="native", action="store_false",
        help="emulate all programs that run in the root filesystem: slower, with the same result",
    )  # fmt: skip


def size_option(text: str) -> int:
    """Return an option's value in bytes; `text` may have a unit."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
