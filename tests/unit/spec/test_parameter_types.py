# SPDX-License-Identifier: MIT
"""Types of recipe parameters, and the values that they accept and refuse."""

from __future__ import annotations

import pytest

from builder.errors import UserError
from builder.spec.parameter_types import ParameterType, mismatch
from builder.spec.reader import Reader
from builder.spec.resolve import resolve
from tests.fixtures.command_line import TREE
from tests.fixtures.specs import Files

HOSTILE = (
    *("a\nb", "a\rb", "a\0b", "\x1b[2J", "a\N{LINE SEPARATOR}b", "a\N{NEXT LINE}b"),
    *(
        "$(id)",
        "`id`",
        "a;id",
        "a|b",
        "a&b",
        "a b",
        "a'b",
        'a"b',
        "../a",
        "/a",
        "a/../b",
        "-a",
        "~",
    ),
    *("{{ 1 }}", "%n", "a\\b", "a#b", "é", "\N{ARABIC-INDIC DIGIT FIVE}", ""),
)
RIGHT = {
    ParameterType.LINE: ["", "two words", "é", "a #1 'quoted'", "x" * 4000],
    ParameterType.HOST_NAME: ["pynq", "a", "3com", "board-7.lab.example", "x" * 63],
    ParameterType.USER_NAME: ["xilinx", "a", "j_doe-2", "x" * 32],
    ParameterType.TIME_ZONE: ["UTC", "Europe/Zurich", "America/Argentina/Ushuaia", "Etc/GMT+3"],
    ParameterType.LOCALE: ["C", "C.UTF-8", "en_US.UTF-8", "ca_ES@valencia", "gsw_CH.ISO-8859-1"],
    ParameterType.INTERFACE: ["eth0", "enp1s0f1", "br-lan", "eth0.7", "x" * 15],
    ParameterType.ADDRESS: ["192.168.2.99/24", "10.0.0.1/8", "1.2.3.4/32"],
    ParameterType.PORT: ["1", "80", "65535"],
    ParameterType.SIZE: ["1", "64M", "2G"],
    ParameterType.PATH: ["a", "notebooks", "a/b.c/d-e", "_x"],
    ParameterType.WORD: ["vt220", "i2c-dev", "8250_of"],
    ParameterType.DECIMAL: ["122.88", "0", "409.6"],
}
WRONG = {
    ParameterType.LINE: [],
    ParameterType.HOST_NAME: ["-a", "a-", "a..b", ".a", "a.", "a_b", "x" * 64, "a." * 32 + "b"],
    ParameterType.USER_NAME: ["Root", "1st", "x" * 33, "a.b"],
    ParameterType.TIME_ZONE: ["Europe/", "/UTC", "a//b"],
    ParameterType.LOCALE: ["en", "EN_us", "c", "en_US.", "en_US UTF-8"],
    ParameterType.INTERFACE: ["x" * 16, ".", "..", "a/b"],
    ParameterType.ADDRESS: [
        "192.168.2.99",
        "1.2.3/8",
        "1.2.3.4/33",
        "::1/64",
        "1.2.3.4/255.0.0.0x",
    ],
    ParameterType.PORT: ["0", "-1", "65536", "80.0", "+80", "9" * 5000],
    ParameterType.SIZE: ["0", "M", "-1M", "1m", "1 M", "1" * 20],
    ParameterType.PATH: [".", "..", "a/", "a//b", "a/..", ".ssh", "a/.b"],
    ParameterType.WORD: ["", ".", ".."],
    ParameterType.DECIMAL: ["1.", ".5", "-1", "1e9", "1" * 20],
}
assert RIGHT.keys() == WRONG.keys() == {*ParameterType}


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in RIGHT.items() for text in texts]
)
def test_a_type_accepts_its_values(kind: ParameterType, text: str) -> None:
    assert mismatch(kind, text) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((kind, text) for kind, texts in WRONG.items() for text in texts),
        *((kind, text) for kind in ParameterType for text in HOSTILE if text not in RIGHT[kind]),
    ],
)
def test_a_type_refuses_special_characters_of_shells_and_line_ends(
    kind: ParameterType, text: str
) -> None:
    takes_words = kind is ParameterType.LINE and text.isprintable()
    assert (mismatch(kind, text) is None) == takes_words


RECIPE = """\
parameters:
  text: {default: x, summary: s}
  many: {default: [], summary: s}
  name: {default: a, summary: the name, type: host-name}
  free: {default: "", summary: s, type: word, optional: true}
  port: {default: 80, summary: the port, type: port}
  word: {default: secret, summary: the password, secret: true}
"""

HOST = "must be a host name: letters, digits and inner hyphens, at most 64 characters"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('text: "a\\nb"', "text: must be one line, without control characters (s), not 'a\\nb'"),
        ('many: [a, "b\\r"]', "many: must be one line, without control characters (s), not 'b\\r'"),
        ("name: a_b", f"name: {HOST} (the name), not 'a_b'"),
        ("port: 65536", "port: must be a port, 1 to 65535 (the port), not '65536'"),
        (
            'word: "pass\\nword"',
            "word: must be one line, without control characters (the password)",
        ),
        ("free: a b", "free: must be a word of letters, digits, _ . + and - (s), not 'a b'"),
    ],
)
def test_a_value_of_another_type_is_refused_at_its_line(
    files: Files, line: str, problem: str
) -> None:
    files.recipe("a", RECIPE)
    files.write("local.yaml", f"parameters:\n  a:\n    {line}\n")
    assert files.problems() == [f"local.yaml:3: parameters.a.{problem}"]


def test_an_optional_text_may_be_empty(files: Files) -> None:
    files.recipe("a", RECIPE)
    assert files.resolve(settings=["a.free="]).parameters()["a"]["free"] == ""
    with pytest.raises(UserError, match=r"a\.name: must be a host name"):
        files.resolve(settings=["a.name="])


def test_every_parameter_of_our_recipes_has_a_type_unless_it_is_secret() -> None:
    """`line` is for secrets, which are only hashed or quoted, and for parameters with a pattern."""
    reader = Reader()
    loose = [
        f"{name}.{key}"
        for name, path in TREE.recipe_files().items()
        for key, each in getattr(reader.recipe(path), "parameters", {}).items()
        if not isinstance(each.default, bool)
        and each.type is ParameterType.LINE
        and not (each.pattern or each.secret)
    ]
    assert loose == []


def test_the_web_page_has_a_password() -> None:
    with pytest.raises(UserError, match=r"jupyter\.password: must match"):
        resolve(TREE, "Pynq-Z2", settings=["jupyter.password="])
