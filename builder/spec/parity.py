# SPDX-License-Identifier: MIT
"""Parity with PYNQ's builder of card images: its features and those here, checked, as a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, model_validator

from builder.spec.document import KeyPath
from builder.spec.models import Model
from builder.spec.reader import Reader, SpecTree, closest
from builder.spec.texts import Name, RelativePath

DATA = "docs/parity.yaml"


class Row(Model):
    """One thing that the other builder gives.

    What stands for it is `recipes` or files of the tree (`here`); else it is `left-out`, which says
    why. Recipes are tested by the checks beside them; `tests` are others, `FILE` or `FILE::FUNCTION`.
    `note` says what is otherwise than there.
    """

    what: str = Field(description="Its name there")
    gives: str | None = Field(default=None, description="What it does, if its name does not say it")
    recipes: tuple[Name, ...] = ()
    here: tuple[RelativePath, ...] = ()
    tests: tuple[RelativePath, ...] = ()
    note: str | None = None
    left_out: str | None = None

    @model_validator(mode="after")
    def _one_answer(self) -> Row:
        if bool(self.recipes or self.here) == bool(self.left_out):
            raise ValueError("give either `recipes` or `here`, or `left-out` with the reason")
        if self.here and not (self.tests or self.recipes):
            raise ValueError("files need `tests`")
        return self


class Section(Model):
    """Rows of a kind."""

    title: str
    about: str
    rows: tuple[Row, ...]


class Parity(Model):
    """The whole comparison."""

    about: str
    sections: tuple[Section, ...]


def read_parity(tree: SpecTree) -> Parity:
    """Read the data, and make sure that all that it names is there.

    Raises:
        UserError: its details name every problem with its line.
    """
    reader = Reader()
    file = tree.root / DATA
    parity = reader.load(file, Parity)
    if parity:
        recipes = _recipes(tree)
        for where, row in _rows(parity):
            for index, name in enumerate(row.recipes):
                if name not in recipes:
                    what = f"there is no recipe {name}{closest(name, recipes)}"
                    reader.add_problem(file, (*where, "recipes", index), what)
                elif not (row.tests or _checks(recipes[name])):
                    what = f"recipe {name} has no checks: name `tests`"
                    reader.add_problem(file, (*where, "recipes", index), what)
            for key, names in (("here", row.here), ("tests", row.tests)):
                for index, name in enumerate(names):
                    if problem := _missing(tree.root, name):
                        reader.add_problem(file, (*where, key, index), problem)
    reader.raise_problems()
    assert parity, "without problems there is a result"
    return parity


def page(tree: SpecTree) -> str:
    """Return the comparison as a page of Markdown.

    Raises:
        UserError: the data is wrong.
    """
    parity = read_parity(tree)
    recipes = _recipes(tree)
    parts = ["# Beside PYNQ's sdbuild", "", f"Made by `make schemas` from `{DATA}`; do not edit."]
    parts += ["", parity.about.strip()]
    for section in parity.sections:
        parts += ["", f"## {section.title}", "", section.about.strip(), ""]
        parts += ["| there | here | tested by | |", "|---|---|---|---|"]
        parts += [_line(tree, row, recipes) for row in section.rows]
    return "\n".join(parts) + "\n"


def _line(tree: SpecTree, row: Row, recipes: dict[str, Path]) -> str:
    what = f"{row.what}: {row.gives}" if row.gives else row.what
    if row.left_out:
        return f"| {what} | left out | | {row.left_out} |"
    shared = tree.recipe_files()
    # Those of boards have no entry in the page of recipes.
    here = [
        f"[{name}](recipes.md#{name})" if name in shared else f"`{name}`" for name in row.recipes
    ]
    here += [f"`{name}`" for name in row.here]
    checks = [path for name in row.recipes for path in _checks(recipes[name])]
    tests = [*dict.fromkeys([*(str(path.relative_to(tree.root)) for path in checks), *row.tests])]
    listed = (", ".join(each) for each in (here, [f"`{name}`" for name in tests]))
    return f"| {what} | {' | '.join(listed)} | {row.note or ''} |"


def _rows(parity: Parity) -> Iterator[tuple[KeyPath, Row]]:
    for number, section in enumerate(parity.sections):
        for index, row in enumerate(section.rows):
            yield ("sections", number, "rows", index), row


def _recipes(tree: SpecTree) -> dict[str, Path]:
    """Return the `recipe.yaml` of each recipe of the tree, also of its boards."""
    return tree.recipe_files([path.parent for path in tree.board_files().values()])


def _checks(recipe: Path) -> list[Path]:
    return sorted(recipe.parent.glob("test_*.py"))


def _missing(project: Path, name: str) -> str | None:
    """Say what a name of a file, or of a function in one, lacks; None if it is there."""
    file, _, function = name.partition("::")
    path = project / file
    if not path.exists():
        return f"there is no {file}"
    if function and not re.search(rf"^def {re.escape(function)}\(", path.read_text(), re.MULTILINE):
        return f"{file} has no {function}"
    return None
