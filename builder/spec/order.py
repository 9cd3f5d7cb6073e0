# SPDX-License-Identifier: MIT
"""The order of recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.spec.reader import Reader
from builder.spec.recipe import Recipe

MOST_REQUIRED = 100
"""Maximum length of a chain of recipes that require each other."""

Recipes = Mapping[str, Recipe | None]


def in_order(
    reader: Reader, names: Sequence[str], recipes: Recipes, files: Mapping[str, Path]
) -> list[str]:
    """Return recipes and their requirements, each after those that it requires.

    Recipes that read the board, and those that require such a recipe, come last, so that the layers
    of all others are shared by all boards of an architecture.

    Args:
        reader: collects a problem for recipes that require each other in a circle.
        names: the requested recipes.
        recipes: the recipes by name; None for a recipe with problems.
        files: the file of each existing recipe.
    """
    done: list[str] = []
    trail: list[str] = []

    def visit(name: str) -> None:
        if name in done or name not in files:
            return
        if name in trail:
            circle = " -> ".join([*trail[trail.index(name) :], name])
            asking = trail[-1]
            recipe = recipes[asking]
            index = recipe.requires.index(name) if recipe else 0
            reader.add_problem(files[asking], ("requires", index), f"goes in a circle: {circle}")
            return
        if len(trail) >= MOST_REQUIRED:
            what = f"is in a chain of more than {MOST_REQUIRED} recipes"
            reader.add_problem(files[trail[-1]], ("requires",), what)
            return
        trail.append(name)
        recipe = recipes.get(name)
        for required in recipe.requires if recipe else ():
            visit(required)
        trail.pop()
        done.append(name)

    for name in names:
        visit(name)
    late = seeing_the_board(done, recipes)
    return [name for name in done if name not in late] + late


def seeing_the_board(names: Sequence[str], recipes: Recipes) -> list[str]:
    """Return the recipes that read the board or require a recipe that does.

    `names` must be in order, each recipe after those that it requires.
    """
    found: list[str] = []
    for name in names:
        recipe = recipes.get(name)
        if recipe and (recipe.board_specific or {*recipe.requires} & {*found}):
            found.append(name)
    return found
