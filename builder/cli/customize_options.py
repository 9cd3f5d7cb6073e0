# SPDX-License-Identifier: MIT
"""Options of the command `customize`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import shtab

from builder.cli.context import Context
from builder.cli.options import (
    BOARDS,
    RECIPES,
    STRICT_ARCHIVE,
    add_jobs,
    add_no_native,
    add_settings,
    completed,
    size_option,
)
from builder.cli.test import add_selection
from builder.errors import UserError
from builder.spec.extra import extra_recipes
from builder.spec.overlays import Design, find_design
from builder.spec.reader import closest
from builder.target_tests.session import Selection


@dataclass(frozen=True, kw_only=True)
class CustomizeOptions:
    """Options of the command, with absolute paths.

    board: name of the image's board, if the image and its manifest do not contain it.
    free: minimum free space of the root partition in bytes.
    test: whether the new image is booted and checked; `selection` are its checks.
    """

    image: Path
    target: Path
    recipes: Sequence[str]
    settings: Sequence[str]
    packages: Sequence[str]
    designs: Sequence[Design]
    boot_files: Sequence[Path]
    board: str | None
    free: int
    test: bool
    selection: Selection
    jobs: int
    update: bool
    offline: bool
    strict_archive: bool
    native: bool

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> CustomizeOptions:
        """Return the options of a parsed command line.

        Raises:
            UserError: a file or a directory does not exist, or the new image cannot be written.
        """
        image, target = arguments.image.absolute(), arguments.output_image.absolute()
        _check_paths(image, target)
        return cls(
            image=image,
            target=target,
            recipes=tuple(arguments.recipe),
            settings=tuple(arguments.settings),
            packages=tuple(arguments.package),
            designs=[_design(folder.absolute()) for folder in arguments.overlay],
            boot_files=[_boot_file(file.absolute()) for file in arguments.boot_file],
            board=arguments.board,
            free=arguments.free,
            test=arguments.test,
            selection=Selection(arguments.k, arguments.quick),
            jobs=arguments.jobs,
            update=arguments.update,
            offline=arguments.offline,
            strict_archive=arguments.strict_archive,
            native=arguments.native,
        )

    def check_names(self, context: Context) -> None:
        """Check the names of the board, recipes and parameters before the image is unpacked.

        Raises:
            UserError: a name is unknown.
        """
        boards = context.tree.board_files()
        if self.board and self.board not in boards:
            raise UserError(f"there is no board {self.board}{closest(self.board, boards)}")
        # The board may be known only from the image, so recipes of all boards are accepted here.
        directories = [file.parent for file in boards.values()]
        extra_recipes(
            context.tree,
            self.recipes,
            present={},
            settings=self.settings,
            directories=directories,
        )


def _check_paths(path: Path, target: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if target.suffix != ".img":
        raise UserError(f"-o {target}: the name must end in .img")
    if not target.parent.is_dir():
        raise UserError(f"-o {target}: directory {target.parent} does not exist")
    if target.exists() and target.samefile(path):
        raise UserError(
            f"-o {target}: is the image to customize, which is never changed",
            hint="name another file",
        )


def _design(folder: Path) -> Design:
    try:
        return find_design(folder)
    except FileNotFoundError as error:
        raise UserError(f"--overlay {folder}: {error}") from error


def _boot_file(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"--boot-file {path}: no such file")
    return path


def add_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    image = verb.add_argument(
        "image", type=Path, metavar="IMAGE",
        help="an image of this builder or a released image of PYNQ: .img or compressed (.img.xz, "
        ".img.zst, .zip, ...)",
    )  # fmt: skip
    completed(image, shtab.FILE)
    verb.add_argument(
        "-o", dest="output_image", type=Path, required=True, metavar="NEW.img",
        help="the new image",
    )  # fmt: skip
    recipe = verb.add_argument(
        "--recipe", action="append", default=[], metavar="NAME",
        help="apply a recipe and the missing recipes that it requires (repeatable)",
    )  # fmt: skip
    completed(recipe, RECIPES)
    add_settings(verb, "set a recipe's parameter and apply the recipe")
    verb.add_argument(
        "--package", action="append", default=[], metavar="NAME",
        help="install a package of the distribution (repeatable)",
    )  # fmt: skip
    verb.add_argument(
        "--overlay", action="append", default=[], type=Path, metavar="DIR",
        help="add a design for the programmable logic: a directory with its .bit, .hwh, ...; replaces "
        "a design of the same name (repeatable)",
    )  # fmt: skip
    verb.add_argument(
        "--boot-file", action="append", default=[], type=Path, metavar="FILE",
        help="copy a file to the boot partition; replaces a file of the same name (repeatable)",
    )  # fmt: skip
    board = verb.add_argument(
        "--board", metavar="NAME", help="board of the image, if its manifest does not name it"
    )
    completed(board, BOARDS)
    verb.add_argument(
        "--free", type=size_option, default="512M", metavar="SIZE",
        help="minimum free space in the root partition (default: %(default)s)",
    )  # fmt: skip
    verb.add_argument(
        "--test", action="store_true", help="boot the new image under QEMU and check it"
    )
    add_selection(verb)
    add_jobs(verb)
    network = verb.add_mutually_exclusive_group()
    network.add_argument("--update", action="store_true", help="download current package indexes")
    network.add_argument("--offline", action="store_true", help="do not use the network")
    verb.add_argument("--strict-archive", action="store_true", help=STRICT_ARCHIVE)
    add_no_native(verb)
