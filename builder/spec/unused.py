# SPDX-License-Identifier: MIT
"""Validation of all recipes, profiles and distributions, including unused ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.spec.distribution_rules import check_distribution
from builder.spec.document import Problem
from builder.spec.profiles import read_profiles
from builder.spec.reader import Reader, SpecTree, closest
from builder.spec.recipe_rules import check_recipe


def problems_of_board(tree: SpecTree, name: str) -> list[Problem]:
    """Return the problems of a board's own recipes and profiles.

    Return none if its `board.yaml` cannot be read, since the names that they may use are then
    unknown.
    """
    reader, files = Reader(), tree.board_files()
    if reader.board(files[name], files) is None:
        return []
    bases = [path.parent for path in reader.document(files[name]).bases]
    folders = [*bases, files[name].parent]
    return _problems(
        tree, files[name].parent, tree.recipe_files(folders), tree.profile_files(folders)
    )


def problems_of_shared(tree: SpecTree, folder: Path, boards: Sequence[Path]) -> list[Problem]:
    """Return the problems of shared recipes, profiles and distributions.

    They may use recipes and profiles of boards; `boards` are the directories of these.
    """
    found = _problems(
        tree,
        folder,
        tree.recipe_files(boards) | tree.recipe_files(),
        tree.profile_files(boards) | tree.profile_files(),
    )
    return [*found, *(_problems_of_distributions(tree) if folder == tree.root else ())]


def _problems_of_distributions(tree: SpecTree) -> list[Problem]:
    reader = Reader()
    for path in tree.distribution_files().values():
        model = reader.distribution(path)
        if model:
            check_distribution(reader, path, model)
    return reader.problems


def _problems(
    tree: SpecTree, folder: Path, recipes: Mapping[str, Path], profiles: Mapping[str, Path]
) -> list[Problem]:
    """Return the problems of a directory's files, which may use these recipes and profiles."""
    reader = Reader()
    named: list[tuple[Path, str, tuple[str, ...]]] = []
    for path in sorted(folder.glob("recipes/*/recipe.yaml")):
        recipe = reader.recipe(path)
        if recipe:
            check_recipe(reader, path, recipe, tree.distribution_files())
            named.append((path, "requires", recipe.requires))
    for path in sorted(folder.glob("profiles/*.yaml")):
        read = read_profiles(reader, path, profiles)
        if read:
            named.append((path, "recipes", read[-1][1].recipes))
    for path, key, names in named:
        for index, name in enumerate(names):
            if name not in recipes:
                what = f"there is no recipe {name}{closest(name, recipes)}"
                reader.add_problem(path, (key, index), what)
    return reader.problems
