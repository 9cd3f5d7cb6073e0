# SPDX-License-Identifier: MIT
"""The services of all recipes, and their exposure according to systemd-analyze."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest

from builder.spec.reader import Reader, SpecTree
from builder.spec.recipe import Recipe
from tests.fixtures.product import ROOT
from tests.fixtures.services import (
    REVIEWED,
    UNITS,
    exposure,
    needs_systemd_analyze,
    services,
    too_open,
)


def recipes() -> dict[Path, Recipe]:
    """All recipes by directory, including those of boards."""
    tree, reader = SpecTree(root=ROOT), Reader()
    boards = [file.parent for file in tree.board_files().values()]
    found = {file.parent: reader.recipe(file) for file in tree.recipe_files(boards).values()}
    reader.raise_problems()
    return {folder: recipe for folder, recipe in found.items() if recipe}


def units() -> Iterator[tuple[str, str]]:
    """Yield path and text of the units of all recipes, with default parameters."""
    found = recipes()
    defaults = {
        folder.name.replace("-", "_"): {
            key.replace("-", "_"): parameter.default for key, parameter in recipe.parameters.items()
        }
        for folder, recipe in found.items()
    }
    jinja = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701 - not HTML
    for folder, recipe in found.items():
        own = defaults[folder.name.replace("-", "_")]
        for file in recipe.files:
            if file.to.startswith(f"/{UNITS}/"):
                yield file.to[1:], (folder / file.source).read_text()
        for file in recipe.templates:
            if file.to.startswith(f"/{UNITS}/"):
                text = jinja.from_string((folder / file.source).read_text())
                yield file.to[1:], text.render(recipes=defaults, **own)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """All units by path."""
    return dict(units())


@pytest.fixture
def tree(texts: dict[str, str], tmp_path: Path) -> Path:
    """The units in an image with all recipes."""
    needs_systemd_analyze()
    for path, text in texts.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_each_is_shut_in_as_was_reviewed(tree: Path) -> None:
    assert services(tree) == sorted(REVIEWED)
    assert too_open(tree) == []


def test_less_than_that_is_noticed(tree: Path) -> None:
    unit = tree / UNITS / "swap.service"
    unit.write_text(unit.read_text().replace("NoNewPrivileges=yes\n", ""))
    rated = exposure(tree, unit.name)
    most, _ = REVIEWED[unit.name]
    assert rated > most
    assert too_open(tree) == [f"{unit.name} is rated {rated}, which was at most {most}"]


def test_a_service_that_nobody_reviewed_is_noticed(tree: Path) -> None:
    unit = tree / UNITS / "new@.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    (said,) = too_open(tree)
    assert said.startswith("new@.service (9.")
    assert "is not in the table" in said


def test_drop_ins_count(tree: Path) -> None:
    folder = tree / UNITS / "swap.service.d"
    folder.mkdir()
    (folder / "loose.conf").write_text("[Service]\nProtectSystem=no\n")
    assert len(too_open(tree)) == 1
