# SPDX-License-Identifier: MIT
"""Assignments of makefiles in all forms that boards' specifications use."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import UserError
from builder.sdbuild_import.make import parse, read_makefile


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("A := 1\n", "A", "1"),
        ("A = 1\n", "A", "1"),
        ("A ::= 1\n", "A", "1"),
        ("A :::= 1\n", "A", "1"),
        ("A:=1", "A", "1"),
        ("A=1", "A", "1"),
        ("A_e200:= arm", "A_e200", "arm"),
        ("B_AUP-ZU3 :=./base/base.bit", "B_AUP-ZU3", "./base/base.bit"),
        ("A_Zybo-Z7-10 := x", "A_Zybo-Z7-10", "x"),
        ("A_v1.0 := x", "A_v1.0", "x"),
        ("A :=", "A", ""),
        ("A := \n", "A", ""),
        ("A := 1  \t \n", "A", "1"),
        ("A := 1 # one\n", "A", "1"),
        ("A := 1# one\n", "A", "1"),
        ("A := a\\#b # c\n", "A", "a#b"),
        ("# A := 2\nA := 1", "A", "1"),
        ("A := 1\r\n", "A", "1"),
        ("  A := 1\n", "A", "1"),
        ("A := https://h.invalid/x.bsp?a=b&c=d\n", "A", "https://h.invalid/x.bsp?a=b&c=d"),
        ("export A := 0\n", "A", "0"),
        ("override export A := 0\n", "A", "0"),
        ("A := 0\nexport A\n", "A", "0"),
        ("A := 1\nA := 2\n", "A", "2"),
        # Adding
        ("A := 1\nA += 2\nA+=3\n", "A", "1 2 3"),
        ("A += 2\n", "A", "2"),
        ("A = $(B)\nA += c\nB = b\n", "A", "b c"),
        ("B := 1\nA := 0\nA += $(B)\nB := 2\n", "A", "0 1"),
        # Unless it is there
        ("A ?= 1\nA ?= 2\n", "A", "1"),
        ("A :=\nA ?= 2\n", "A", ""),
        # Long lines
        ("A := 1 \\\n  2 \\\n\t3\n", "A", "1 2 3"),
        ("A := 1 \\\n\nB := 2\n", "A", "1"),
        ("A := 1 \\", "A", "1"),
        ("# a comment \\\nA := 2\nA := 1\n", "A", "1"),
        # References
        ("B := b\nA := $(B)/${B}/$B\n", "A", "b/b/b"),
        ("A = $(B)\nB := late\n", "A", "late"),
        ("B := early\nA := $(B)\nB := late\n", "A", "early"),
        ("A := $$HOME\n", "A", "$HOME"),
        ("C = c\nB = $(C)\nA := $(B)\n", "A", "c"),
    ],
)
def test_an_assignment_has_the_value_that_make_gives_it(text: str, name: str, value: str) -> None:
    found = parse(text)
    assert found.variables[name].value == value
    assert not found.unsupported


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("\nifeq ($(X),1)\nA := 1\nendif\n", 2, "`ifeq ($(X),1)`: a condition"),
        ("ifeq ($(X),1)\nA  :=  1\nendif\n", 2, "`A := 1`: depends on a condition"),
        ("ifdef X\nelse\nA := 1\nendif\n", 3, "`A := 1`: depends on a condition"),
        ("ifdef X\nelse ifdef Y\nA := 1\nendif\n", 3, "`A := 1`: depends on a condition"),
        ("ifneq(a,b)\nendif\n", 1, "`ifneq(a,b)`: a condition"),
        ("include common.mk\n", 1, "`include common.mk`: another file"),
        ("-include common.mk\n", 1, "`-include common.mk`: another file"),
        ("define F\nA := 1\nendef\n", 1, "`define F`: a macro"),
        ("all: base\n", 1, "`all: base`: not an assignment"),
        ("$(eval $(call F,B))\n", 1, "`$(eval $(call F,B))`: not an assignment"),
        ("A != date\n", 1, "`A != date`: a command's output"),
        ("A := $(shell date)\n", 1, "`$(shell date)` is a function of make"),
        ("A := $(BOARDDIR)/x\n", 1, "`$(BOARDDIR)` is not set here"),
        ("A = $(A) x\n", 1, "`$(A)` refers to itself"),
        ("B := 1\nA := 1 \\\n  $(C)\n", 2, "`$(C)` is not set here"),
    ],
)
def test_what_only_make_can_decide_is_listed_with_its_line(text: str, line: int, what: str) -> None:
    found = parse(text)
    assert (line, what) in [(each.line, each.what) for each in found.unsupported]


def test_nothing_in_a_condition_or_a_macro_is_assigned() -> None:
    text = (
        "ifdef X\nifdef Y\nA := 1\nendif\nB := 2\nendif\nC := 3\ndefine D\nE := 4\nendef\nF := 5\n"
    )
    assert set(parse(text).variables) == {"C", "F"}


def test_variables_that_others_refer_to_are_known() -> None:
    assert parse("A := 1\nB = $(A)\nC := 2\n").used == {"A"}


def test_lines_of_a_variable_are_those_that_make_it() -> None:
    found = parse("\nA := 1 \\\n  2\n# no\nA += 3\n")
    assert found.variables["A"].lines == [2, 5]


def test_a_file_that_cannot_be_read_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read|is not UTF-8 text"):
        read_makefile(tmp_path / "none.spec")
    (tmp_path / "x.spec").write_bytes(b"A := \xff\xfe\n")
    with pytest.raises(UserError, match=r"cannot be read|is not UTF-8 text"):
        read_makefile(tmp_path / "x.spec")


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"A{n} = {f'$(A{n + 1})' * 10}\n" for n in range(20)) + "A20 = x\n",
        "A := x\n" + "A += $(A)\n" * 40,
        "".join(f"A{n} = $(A{n + 1})\n" for n in range(2000)) + "A2000 = x\n",
    ],
    ids=["laughs", "doubled", "chain"],
)
def test_variables_that_stand_for_too_much_are_the_users_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.spec"
    path.write_text(text)
    with pytest.raises(UserError, match=r"x\.spec: line \d+: the expansion of A\d* is too large"):
        read_makefile(path)
