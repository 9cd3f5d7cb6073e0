# SPDX-License-Identifier: MIT
"""Paths of the parts of a package of PYNQ's sdbuild, which a recipe uses as it is."""

from __future__ import annotations

from pathlib import Path

from builder.spec.reader import Reader
from builder.spec.recipe import Legacy, Recipe

SCRIPTS = ("pre.sh", "qemu.sh", "post.sh")
"""The scripts of a package, in the order in which sdbuild runs them."""


def package_directory(recipe: Path, legacy: Legacy) -> Path:
    """Return the directory of a recipe's package; `recipe` is the recipe's."""
    return recipe / legacy.package


def board_files(recipe: Path, legacy: Legacy) -> dict[str, Path]:
    """Return the files that a package reads of its board, by their names below the board's.

    A board's recipes are in `recipes/` of its directory.
    """
    return {name: recipe.parents[1] / name for name in legacy.board_files}


def fetches(recipe: Recipe) -> bool:
    """Return whether a recipe has a package whose scripts reach the network."""
    return recipe.legacy is not None and recipe.legacy.network


def check_legacy(reader: Reader, file: Path, recipe: Recipe) -> None:
    """Complain of parts of a recipe's package that are not there; `file` is the `recipe.yaml`."""
    legacy = recipe.legacy
    if legacy is None:
        return
    package = package_directory(file.parent, legacy)
    if not any((package / name).is_file() for name in SCRIPTS):
        reader.add_problem(
            file, ("legacy", "package"), f"none of {', '.join(SCRIPTS)} is in {package}"
        )
    for index, path in enumerate(board_files(file.parent, legacy).values()):
        if not path.exists():
            reader.add_problem(file, ("legacy", "board-files", index), f"there is no file {path}")
    if legacy.board_files and not recipe.board_specific:
        reader.add_problem(file, ("legacy", "board-files"), "needs `board-specific: true`")
