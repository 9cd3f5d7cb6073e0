# SPDX-License-Identifier: MIT
"""Selection of recipes to apply to an existing system, with their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.errors import UserError
from builder.spec.extra import ExtraRecipes, extra_recipes
from builder.spec.models import Scalar
from builder.spec.recipe import SECRET
from tests.fixtures.specs import Files

USERS = """\
parameters:
  user: {default: xilinx, summary: s}
  password: {default: xilinx, summary: s, secret: true}
  root-password: {default: "", summary: s, secret: true}
"""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    files.recipe("base")
    files.recipe("users", "requires: [base]\n" + USERS)
    files.recipe("web", "requires: [users]\nparameters:\n  port: {default: 80, summary: s}\n")
    return files


def extra(
    files: Files,
    *names: str,
    present: Mapping[str, Mapping[str, Scalar]] | None = None,
    settings: tuple[str, ...] = (),
) -> ExtraRecipes:
    return extra_recipes(files.tree, names, present=present or {}, settings=settings)


def applied(found: ExtraRecipes) -> list[str]:
    return [recipe.name for recipe in found.applied]


def test_required_recipes_come_first(files: Files) -> None:
    assert applied(extra(files, "web")) == ["base", "users", "web"]


def test_a_forbidden_default_is_not_applied(files: Files) -> None:
    files.recipe(
        "shop",
        """\
        requires: [web]
        parameters:
          password: {default: known, summary: of it, secret: true, no-default-with: web.port}
        """,
    )
    with pytest.raises(UserError, match=r"shop\.password must not be the default") as caught:
        extra(files, "shop")
    assert caught.value.hint == "set another value: --set shop.password=..."
    assert "shop" in applied(extra(files, "shop", settings=("shop.password=own",)))
    kept = {"base": {}, "users": {}, "web": {}, "shop": {"password": SECRET}}
    assert applied(extra(files, "web", present=kept)) == ["web"]


def test_present_recipes_are_known_but_not_applied_again(files: Files) -> None:
    present = {"base": {}, "users": {"user": "me", "password": SECRET, "root-password": SECRET}}
    found = extra(files, "web", present=present)
    assert applied(found) == ["web"]
    assert [*found.known] == ["base", "users", "web"]
    assert found.known["users"].parameters["user"] == "me"


def test_a_recipe_with_a_new_setting_is_applied_with_its_other_parameters_unchanged(
    files: Files,
) -> None:
    present = {"base": {}, "users": {"user": "me", "password": SECRET, "root-password": ""}}
    found = extra(files, present=present, settings=("users.password=new",))
    assert applied(found) == ["users"]
    assert found.applied[0].parameters == {
        "user": "me",
        "password": "new",
        "root-password": "",
    }


def test_an_unknown_secret_is_not_replaced_by_the_default(files: Files) -> None:
    # Also root's password, whose default is empty.
    present = {"base": {}, "users": {"password": SECRET, "root-password": SECRET}}
    with pytest.raises(UserError, match="secrets that the image's manifest") as caught:
        extra(files, present=present, settings=("users.user=you",))
    assert caught.value.hint == "set them: --set users.password=... --set users.root-password=..."


def test_local_settings_apply(files: Files) -> None:
    files.write("local.yaml", "parameters:\n  web: {port: 8080}\n  other: {x: 1}\n")
    assert extra(files, "web").known["web"].parameters == {"port": 8080}
    assert extra(files, "web", settings=("web.port=1",)).known["web"].parameters == {"port": 1}


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (("wep",), (), r"there is no recipe wep \(did you mean web\?\)"),
        ((), ("wep.port=1",), "there is no recipe wep"),
        ((), ("web.prt=1",), r"--set web.prt: recipe web has no parameter prt"),
        ((), ("web.port=x",), "--set web.port: must be a number"),
        ((), ("port=1",), "must be RECIPE.PARAMETER=VALUE"),
    ],
)
def test_mistakes(
    files: Files, names: tuple[str, ...], settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        extra(files, *names, settings=settings)


def test_recipes_that_require_each_other_are_named(files: Files) -> None:
    files.recipe("one", "requires: [two]\n")
    files.recipe("two", "requires: [one]\n")
    with pytest.raises(UserError, match="one -> two -> one"):
        extra(files, "one")


def test_problems_of_recipes_have_file_and_line(files: Files) -> None:
    files.recipe("broken", "fils: []\nfiles:\n  - {from: none, to: /x}\n")
    files.recipe("missing_requirements", "files:\n  - {from: none, to: /x}\n")
    with pytest.raises(UserError) as caught:
        extra(files, "broken", "missing_requirements")
    assert len(caught.value.details) == 2
