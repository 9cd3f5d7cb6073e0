# SPDX-License-Identifier: MIT
"""The commands `boards` and `recipes`."""

from __future__ import annotations

import argparse
import json

from rich.markup import escape
from rich.table import Table

from builder.cli.context import Context, print_json
from builder.cli.options import Verbs
from builder.spec.reader import Reader
from builder.spec.recipe import Recipe
from builder.spec.texts import format_size


def boards(arguments: argparse.Namespace, context: Context) -> int:
    """List the boards."""
    reader = Reader()
    table = Table("board", "SoC", "memory", "summary", box=None)
    files = context.tree.board_files()
    rows = []
    for name, path in sorted(files.items()):
        board = reader.board(path, files)
        if board:
            rows.append((name, board.soc.value, board.memory, board.summary))
            table.add_row(name, board.soc.value, format_size(board.memory), escape(board.summary))
    if context.progress == "json":
        print_json(
            [dict(zip(("board", "soc", "memory", "summary"), row, strict=True)) for row in rows]
        )
    else:
        context.console.print(table)
    reader.raise_problems()
    return 0


def recipes(arguments: argparse.Namespace, context: Context) -> int:
    """List the recipes and their parameters."""
    reader = Reader()
    files = context.tree.recipe_files([path.parent for path in context.tree.board_files().values()])
    found = {name: reader.recipe(path) for name, path in sorted(files.items())}
    valid = {name: recipe for name, recipe in found.items() if recipe}
    if context.progress == "json":
        print_json([_to_json(name, recipe) for name, recipe in valid.items()])
    else:
        for name, recipe in valid.items():
            _print_recipe(name, recipe, context)
    reader.raise_problems()
    return 0


def _to_json(name: str, recipe: Recipe) -> dict[str, object]:
    parameters = {
        key: {"default": each.default, "summary": each.summary, "secret": each.secret}
        for key, each in recipe.parameters.items()
    }
    return {"recipe": name, "summary": recipe.summary, "parameters": parameters}


def _print_recipe(name: str, recipe: Recipe, context: Context) -> None:
    context.console.print(f"[bold]{escape(name)}[/]  {escape(recipe.summary)}")
    for key, parameter in recipe.parameters.items():
        default = json.dumps(parameter.default)
        context.console.print(
            f"    {escape(name)}.{escape(key)} = {escape(default)}  "
            f"[dim]{escape(parameter.summary)}[/]"
        )


def register(verbs: Verbs) -> None:
    """Register the commands."""
    verbs.add(
        "boards",
        boards,
        "list the boards",
        group="boards",
        examples=["boards", "boards --boards-dir ../my-boards --progress json"],
    )
    verbs.add(
        "recipes",
        recipes,
        "list the recipes and their parameters",
        group="boards",
        examples=["recipes", "recipes --progress json"],
    )
