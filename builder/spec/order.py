# SPDX-License-Identifier: MIT
"""The order of recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.spec.reader import Reader
from builder.spec.recipe import Recipe

MOST_REQUIRED = 100
"""Recipes of which each requires the next."""

Recipes = Mapping[str, Recipe | None]


def in_order(
    reader: Reader, names: Sequence[str], recipes: Recipes, files: Mapping[str, Path]
) -> list[str]:
    """Return recipes and all that they require, each after what it requires.

    Those that see the board, and what stands on them, come after all others: what comes before the
    first of them is the same for all boards of an architecture.

    Args:
        reader: told of recipes that require each other in a circle.
        names: the recipes that are wanted.
        recipes: the recipes by name; None for one with problems of its own.
        files: the file of each recipe that there is.
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
            what = f"goes on for more than {MOST_REQUIRED} recipes"
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
    """Return those of `names`, each after what it requires, that see the board or stand on such."""
    found: list[str] = []
    for name in names:
        recipe = recipes.get(name)
        if recipe and (recipe.board_specific or {*recipe.requires} & {*found}):
            found.append(name)
    return found
