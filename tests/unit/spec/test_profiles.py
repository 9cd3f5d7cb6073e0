# SPDX-License-Identifier: MIT
"""Profiles that extend other profiles."""

from __future__ import annotations

import pytest

from builder.spec.profile import Profile
from builder.spec.reader import SpecTree
from builder.spec.resolve import resolve
from builder.spec.schemas import json_schema
from tests.fixtures.specs import BOARD, Files

NUMBERS = "parameters: {one: {default: 1, summary: one}, two: {default: 2, summary: two}}\n"


@pytest.fixture
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A tree with recipes a to d; its board has profile p."""
    made = Files(tmp_path_factory.mktemp("tree"))
    for name in "bcd":
        made.recipe(name)
    return made


def test_recipes_of_the_base_profile_come_first(files: Files) -> None:
    files.write("profiles/base.yaml", "summary: s\nrecipes: [c, a]\n")
    files.write("profiles/more.yaml", "summary: s\nextends: base\nrecipes: [d, a]\n")
    files.write("profiles/p.yaml", "summary: s\nextends: more\nrecipes: [b]\n")
    assert files.order() == ["c", "a", "d", "b"]


def test_recipes_that_read_the_board_still_come_last(files: Files) -> None:
    files.recipe("c", "board-specific: true\n")
    files.write("profiles/base.yaml", "summary: s\nrecipes: [c, a]\n")
    files.write("profiles/p.yaml", "summary: s\nextends: base\nrecipes: [b]\n")
    assert files.order() == ["a", "b", "c"]


def test_a_profile_may_change_parameters_alone(files: Files) -> None:
    files.recipe("a", NUMBERS)
    files.write(
        "profiles/base.yaml", "summary: s\nrecipes: [a]\nparameters: {a: {one: 10, two: 20}}\n"
    )
    files.write("profiles/p.yaml", "summary: s\nextends: base\nparameters: {a: {two: 30}}\n")
    (recipe,) = files.resolve().recipes
    assert recipe.parameters == {"one": 10, "two": 30}
    places = {name: place.rpartition("/")[2] for name, place in recipe.origins.items()}
    assert places == {"one": "base.yaml:3", "two": "p.yaml:3"}


def test_a_vendors_profile_extends_one_of_the_tree(files: Files) -> None:
    vendor = files.root / "vendor"
    files.board(BOARD, folder="vendor")
    files.write("vendor/profiles/base.yaml", "summary: s\nextends: p\nrecipes: [b]\n")
    files.write("vendor/B/profiles/own.yaml", "summary: s\nextends: base\nrecipes: [c]\n")
    files.board(BOARD.replace("profile: p", "profile: own"), folder="vendor")
    spec = resolve(SpecTree(root=files.root, boards_dirs=(vendor,)), "B")
    assert [recipe.name for recipe in spec.recipes] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("extended", "problem"),
    [
        ("pp", "p.yaml:2: extends: there is no profile pp (did you mean p?)"),
        ("p", "p.yaml:2: extends: goes in a circle: p -> p"),
        ("q", "q.yaml:3: extends: goes in a circle: p -> q -> p"),
        ("r", "s.yaml:3: extends: goes in a circle: r -> s -> r"),
        ("[q]", "p.yaml:2: extends: must be a text; put it in quotes"),
        ("t", "t.yaml:2: recipes.1: there is no recipe e (there are: a, b, c, d)"),
    ],
)
def test_an_invalid_base_profile_is_named(files: Files, extended: str, problem: str) -> None:
    files.write("profiles/p.yaml", f"summary: s\nextends: {extended}\nrecipes: [a]\n")
    files.write("profiles/q.yaml", "summary: s\nrecipes: [b]\nextends: p\n")
    files.write("profiles/r.yaml", "summary: s\nrecipes: [b]\nextends: s\n")
    files.write("profiles/s.yaml", "summary: s\nrecipes: [b]\nextends: r\n")
    files.write("profiles/t.yaml", "summary: s\nrecipes: [b, e]\n")
    assert files.problems() == [f"profiles/{problem}"]


def test_recipes_are_always_appended(files: Files) -> None:
    files.write("profiles/q.yaml", "summary: s\nrecipes: [b]\n")
    files.write("profiles/p.yaml", "summary: s\nextends: q\nrecipes+: [a]\n")
    assert files.problems() == [
        "profiles/p.yaml:3: recipes+: is not a known key (did you mean recipes?)"
    ]


def test_the_schema_requires_recipes_or_extends() -> None:
    schema = json_schema("profile")
    assert schema["required"] == ["summary"]
    assert schema["anyOf"] == [{"required": ["extends"]}, {"required": ["recipes"]}]
    assert Profile(summary="s", extends="p").recipes == ()
