# SPDX-License-Identifier: MIT
"""Parameters of recipes: precedence of layers, and validation of values."""

from __future__ import annotations

import pytest

from builder.errors import UserError
from builder.spec.models import Scalar
from builder.spec.reader import Reader
from builder.spec.resolve import resolve
from builder.spec.values import parse_setting
from tests.fixtures.command_line import TREE
from tests.fixtures.specs import BOARD, Files

PARAMETERS = """\
parameters:
  text: {default: recipe, summary: s}
  number: {default: 1, summary: s}
  truth: {default: true, summary: s}
  words: {default: [x], summary: s}
"""


@pytest.mark.parametrize(
    ("layers", "value"),
    [
        ("", "recipe"),
        ("profile", "profile"),
        ("profile board", "board"),
        ("profile board local", "local"),
        ("profile board local set", "set"),
        ("profile set", "set"),
        ("board local", "local"),
        ("profile local", "local"),
    ],
)
def test_later_layers_of_parameters_override_earlier_ones(
    files: Files, layers: str, value: str
) -> None:
    files.recipe("a", PARAMETERS)
    text = "parameters: {{a: {{text: {}}}}}\n"
    if "profile" in layers:
        files.profile("a", text=text.format("profile"))
    if "board" in layers:
        files.board(BOARD + text.format("board"))
    if "local" in layers:
        files.write("local.yaml", text.format("local"))
    spec = files.resolve(settings=["a.text=set"] if "set" in layers else [])
    assert spec.parameters()["a"]["text"] == value
    assert spec.parameters()["a"]["number"] == 1, "the others keep their defaults"


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("a.text=x=y.z", "text", "x=y.z"),
        ("a.text=", "text", ""),
        ("a.text=5", "text", "5"),
        ("a.number=5", "number", 5),
        ("a.number=-5", "number", -5),
        ("a.truth=false", "truth", False),
        ("a.truth=True", "truth", True),
        ("a.words=p,q", "words", ["p", "q"]),
        ("a.words=", "words", []),
    ],
)
def test_a_setting_has_the_type_of_the_default(
    files: Files, setting: str, key: str, value: object
) -> None:
    files.recipe("a", PARAMETERS)
    assert files.resolve(settings=[setting]).parameters()["a"][key] == value


def test_the_last_setting_wins(files: Files) -> None:
    files.recipe("a", PARAMETERS)
    spec = files.resolve(settings=["a.number=2", "a.number=3"])
    assert spec.parameters()["a"]["number"] == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("a.number=five", "--set a.number: must be a number, not 'five'"),
        ("a.number=1.5", "--set a.number: must be a number, not '1.5'"),
        ("a.number=5-", "--set a.number: must be a number, not '5-'"),
        ("a.number=", "--set a.number: must be a number, not ''"),
        ("a.truth=yes", "--set a.truth: must be true or false, not 'yes'"),
        ("a.txt=x", "--set a.txt: recipe a has no parameter txt (did you mean text?)"),
        ("b.text=x", "--set b.text: the image has no recipe b (there are: a)"),
        ("number=5", "--set number: must be RECIPE.PARAMETER=VALUE"),
        ("a.number", "--set a.number: must be RECIPE.PARAMETER=VALUE"),
        (".number=5", "--set .number: must be RECIPE.PARAMETER=VALUE"),
        ("a.=5", "--set a.: must be RECIPE.PARAMETER=VALUE"),
    ],
)
def test_an_invalid_setting_is_refused(files: Files, setting: str, message: str) -> None:
    files.recipe("a", PARAMETERS)
    with pytest.raises(UserError) as caught:
        files.resolve(settings=[setting])
    assert caught.value.message == message


@pytest.mark.parametrize("value", ["--5", "\N{SUPERSCRIPT TWO}"])
def test_a_number_that_only_looks_like_one_is_refused(files: Files, value: str) -> None:
    files.recipe("a", PARAMETERS)
    with pytest.raises(UserError, match="must be a number"):
        files.resolve(settings=[f"a.number={value}"])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("a: {number: '5'}", "a.number: must be a number, not '5'"),
        ("a: {number: true}", "a.number: must be a number, not True"),
        ("a: {text: 5}", "a.text: must be a text, not 5"),
        ("a: {truth: 'no!'}", "a.truth: must be true or false, not 'no!'"),
        ("a: {words: x}", "a.words: must be a list of texts, not 'x'"),
        ("a: {wrods: [x]}", "a.wrods: recipe a has no parameter wrods (did you mean words?)"),
        ("b: {text: x}", "b.text: the image has no recipe b (there are: a)"),
    ],
)
def test_parameters_in_files_are_checked_at_their_line(files: Files, line: str, what: str) -> None:
    files.recipe("a", PARAMETERS)
    text = f"parameters:\n  {line}\n"
    files.board(BOARD + text)
    files.profile("a", text=text)
    files.write("local.yaml", text)
    assert files.problems() == [
        f"boards/B/board.yaml:12: parameters.{what}",
        f"local.yaml:2: parameters.{what}",
        f"profiles/p.yaml:4: parameters.{what}",
    ]


PATTERNS = """parameters:
  key: {default: '', summary: 8 characters, secret: true, pattern: '.{8}'}
  kind: {default: one, summary: one or two, pattern: one|two}
  list: {default: [], summary: small letters, pattern: '[a-z]+'}
"""


def test_a_default_that_does_not_match_must_be_replaced(files: Files) -> None:
    files.recipe("a", PATTERNS)
    assert files.problems() == [
        "boards/B/board.yaml:1: parameters.a.key: must be set: 8 characters"
    ]
    assert files.resolve(settings=["a.key=12345678"]).parameters()["a"]["key"] == "12345678"
    files.write("local.yaml", "parameters: {a: {key: '12345678', list: [x, yz], kind: two}}\n")
    assert files.resolve().parameters()["a"]["list"] == ["x", "yz"]


SWITCH = "parameters: {force: {default: false, summary: switch}}\n"
KNOWN = """parameters:
  password: {default: known, summary: of the page, secret: true, no-default-with: b.force}
"""


def test_a_default_that_another_parameter_forbids_must_be_replaced(
    files: Files,
) -> None:
    files.recipe("a", KNOWN)
    files.recipe("b", SWITCH)
    assert files.resolve().parameters()["a"] == {"password": "known"}
    files.board(BOARD + "recipes: [b]\nparameters: {b: {force: true}}\n")
    assert files.resolve(settings=["b.force=false"]).parameters()["a"] == {"password": "known"}
    assert files.resolve(settings=["a.password=own"]).parameters()["a"]["password"] == "own"
    problem = (
        "boards/B/board.yaml:12: parameters.a.password: must not be the default, which is "
        "publicly known (of the page), because b.force is set"
    )
    assert files.problems() == [problem]
    assert files.problems(settings=["a.password=known"]) == [problem]


@pytest.mark.parametrize("recipe", ["jupyter", "samba"])
def test_an_image_that_forces_a_password_change_has_no_other_default_password(
    recipe: str,
) -> None:
    given = {"users.force-password-change": "true", "jupyter.password": "1", "samba.password": "2"}
    own = [f"{key}={value}" for key, value in given.items()]
    assert resolve(TREE, "Pynq-Z2", settings=own).parameters()["users"]["force-password-change"]
    with pytest.raises(UserError) as caught:
        resolve(TREE, "Pynq-Z2", settings=[each for each in own if recipe not in each])
    (problem,) = caught.value.details
    assert f"parameters.{recipe}.password: must not be the default" in problem


@pytest.mark.parametrize(
    ("recipe", "key", "value"),
    [
        ("ssh", "permit-root-login", "prohibit-password"),
        ("serial-console", "autologin", False),
        ("users", "root-password", ""),
    ],
)
def test_by_default_every_login_needs_a_password(recipe: str, key: str, value: Scalar) -> None:
    model = Reader().recipe(TREE.recipe_files()[recipe])
    assert model
    assert model.parameters[key].default == value
    for board in TREE.board_files():
        assert resolve(TREE, board).parameters()[recipe][key] == value


def test_a_value_that_does_not_match_is_refused_without_showing_secrets(files: Files) -> None:
    files.recipe("a", PATTERNS)
    files.write("local.yaml", "parameters:\n  a: {key: geheim, kind: three, list: [a, B]}\n")
    assert files.problems() == [
        "local.yaml:2: parameters.a.key: must match .{8} (8 characters)",
        "local.yaml:2: parameters.a.kind: must match one|two (one or two), not 'three'",
        "local.yaml:2: parameters.a.list: must match [a-z]+ (small letters), not 'B'",
    ]
    (files.root / "local.yaml").unlink()
    with pytest.raises(UserError) as caught:
        files.resolve(settings=["a.key=geheim"])
    assert caught.value.message == "--set a.key: must match .{8} (8 characters)"


def test_a_pattern_has_to_be_a_regular_expression(files: Files) -> None:
    files.recipe("a", "parameters: {p: {default: x, summary: s, pattern: '('}}\n")
    (found,) = files.problems()
    assert "recipes/a/recipe.yaml:2: parameters.p.pattern: " in found


def test_local_settings_may_be_for_recipes_of_other_images(files: Files) -> None:
    files.recipe("b", PARAMETERS)
    files.write("local.yaml", "parameters: {b: {text: x}}\n")
    assert "b" not in files.resolve().parameters()
    files.profile("a", "b")
    assert files.resolve().parameters()["b"]["text"] == "x"


def test_parse_setting_splits_at_the_first_signs() -> None:
    assert parse_setting("users.user=a.b=c") == ("users", "user", "a.b=c")
