# SPDX-License-Identifier: MIT
"""The options that commands have in common, and how a command is declared."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, get_args

import shtab

from builder.cli.context import DEFAULT_STORE_SIZE, Context, default_store
from builder.engine.engine import processors
from builder.spec.models import Provider
from builder.spec.texts import parse_size

Command: TypeAlias = Callable[[argparse.Namespace, Context], int]
"""A command: it takes the parsed arguments and returns an exit code."""


def _by_function(name: str) -> Mapping[str, str]:
    return {"bash": name, "zsh": name}


# The functions of module `completion` by which shells complete names. Those that offer files too
# are known to shtab by their names.
BOARDS = _by_function("_builder_boards")
BOARDS_OR_FILES = _by_function("_builder_boards_or_files")
RECIPES = _by_function("_builder_recipes")
PROFILES = _by_function("_builder_profiles")
DISTRIBUTIONS = _by_function("_builder_distributions")


_LEAST_STEPS = 2
"""Steps at once on a machine with one processor: some wait for the network."""

STRICT_ARCHIVE = (
    "end with an error rather than leave out packages that cannot be had now, such as security "
    "updates, or use package indexes that are out of date"
)


class Verbs:
    """The commands of a command line.

    `shared` are the options of commands that mean an image, and those of all commands.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser
        self._verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
        self.shared = (_image(), _common())

    def add(
        self, name: str, run: Command, summary: str, *, spec: bool = False
    ) -> argparse.ArgumentParser:
        """Declare a command; with `spec` it takes the options that say which image is meant."""
        verb = self._verbs.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            parents=self.shared if spec else self.shared[1:],
            allow_abbrev=False,
        )
        verb.set_defaults(run=run)
        return verb

    @property
    def parsers(self) -> Mapping[str, argparse.ArgumentParser]:
        """The parser of each command, by its name."""
        return self._verbs.choices


def positive(text: str) -> int:
    """Read an option's value that is a number from 1 on."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number from 1 on")
    return int(text)


def steps_at_once(text: str) -> int:
    """Read the value of `--jobs`: a number from 1 on, or `auto`, a step for each processor."""
    return max(_LEAST_STEPS, processors()) if text == "auto" else positive(text)


def add_jobs(verb: argparse.ArgumentParser) -> None:
    """Add the option `--jobs`."""
    verb.add_argument(
        "--jobs", type=steps_at_once, default="auto", metavar="N",
        help="steps that run at once (default: auto, one for each processor, and at least two); "
        "compilations take turns",
    )  # fmt: skip


def completed(option: argparse.Action, how: Mapping[str, object]) -> None:
    """Say how shells complete an option's value: by a function, or one of shtab's own ways."""
    option.complete = how  # type: ignore[attr-defined]


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    places = common.add_argument_group("places")
    option = places.add_argument(
        "--boards-dir", action="append", default=[], metavar="DIR",
        help="another directory of boards (may be repeated)",
    )  # fmt: skip
    completed(option, shtab.DIRECTORY)
    places.add_argument(
        "--store", default=str(default_store()), metavar="DIR",
        help="where outputs of steps are kept (default: BUILDER_STORE of the environment, else "
        "zynq-sd-builder in the user's cache)",
    )  # fmt: skip
    places.add_argument(
        "--store-size", type=size_option, default=DEFAULT_STORE_SIZE, metavar="SIZE",
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
    return common


def _image() -> argparse.ArgumentParser:
    image = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    group = image.add_argument_group("the image")
    which = group.add_mutually_exclusive_group(required=True)
    board = which.add_argument(
        "--board", action="append", metavar="NAME", dest="boards",
        help="the board, as `boards` lists them (may be repeated)",
    )  # fmt: skip
    completed(board, BOARDS)
    which.add_argument(
        "--all", action="store_true",
        help="all boards of the tree, or with --boards-dir all of those directories alone",
    )  # fmt: skip
    option = group.add_argument(
        "--distro", metavar="NAME", help="use this distribution and no other"
    )
    completed(option, DISTRIBUTIONS)
    option = group.add_argument(
        "--profile", metavar="NAME", help="take this profile of recipes, whatever the board says"
    )
    completed(option, PROFILES)
    group.add_argument(
        "--set", action="append", default=[], metavar="RECIPE.PARAMETER=VALUE", dest="settings",
        help="set a recipe's parameter, as `recipes` lists them; VALUE may be @FILE, the content of a "
        "file (may be repeated)",
    )  # fmt: skip
    group.add_argument(
        "--compress", choices=("xz", "zst"), help="also make the image as a compressed file"
    )
    option = group.add_argument(
        "--boot-files", type=Path, metavar="PATH",
        help="take boot files and modules from this directory or zip file instead of building them",
    )  # fmt: skip
    completed(option, shtab.FILE)
    group.add_argument(
        "--bsp", choices=get_args(Provider), metavar="PROVIDER",
        help="who makes the boot files, whatever the board says: %(choices)s",
    )  # fmt: skip
    option = group.add_argument(
        "--petalinux-installer", type=Path, metavar="PATH",
        help="AMD's PetaLinux installer, petalinux-vRELEASE-...-installer.run",
    )  # fmt: skip
    completed(option, shtab.FILE)
    group.add_argument(
        "--accept-petalinux-license", action="store_true",
        help="accept AMD's licences of PetaLinux, without which it is not installed",
    )  # fmt: skip
    image.set_defaults(only=None)
    network = group.add_mutually_exclusive_group()
    network.add_argument(
        "--update", action="store_true", help="fetch the package indexes anew, choose the "
        "distribution anew",
    )  # fmt: skip
    network.add_argument("--offline", action="store_true", help="use nothing from the network")
    group.add_argument("--strict-archive", action="store_true", help=STRICT_ARCHIVE)
    group.add_argument(
        "--no-native", dest="native", action="store_false",
        help="emulate all that runs in the root filesystem; slower, for the same result",
    )  # fmt: skip
    group.add_argument(
        "--no-ccache", dest="ccache", action="store_false",
        help="compile everything again, and take nothing from the compiler cache",
    )  # fmt: skip
    return image


def size_option(text: str) -> int:
    """Read an option's value that is a size."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
