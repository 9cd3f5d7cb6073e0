# SPDX-License-Identifier: MIT
"""Files of sdbuild packages (PYNQ's image builder), which recipes can use unchanged."""

from __future__ import annotations

from pathlib import Path

from builder.spec.reader import Reader
from builder.spec.recipe import Legacy, Recipe

SCRIPTS = ("pre.sh", "qemu.sh", "post.sh")
"""Scripts of a package, in the order in which sdbuild runs them."""


def package_directory(recipe: Path, legacy: Legacy) -> Path:
    """Return the directory of a recipe's package; `recipe` is the recipe's directory."""
    return recipe / legacy.package


def board_files(recipe: Path, legacy: Legacy) -> dict[str, Path]:
    """Return the board's files that a package reads, by their path relative to the board's directory.

    `recipe` is the directory of the recipe, in `recipes/` of the board's directory.
    """
    return {name: recipe.parents[1] / name for name in legacy.board_files}


def fetches(recipe: Recipe) -> bool:
    """Return whether a recipe has a package with scripts that use the network."""
    return recipe.legacy is not None and recipe.legacy.network


def check_legacy(reader: Reader, file: Path, recipe: Recipe) -> None:
    """Add a problem for each missing part of a recipe's package; `file` is the `recipe.yaml`."""
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
