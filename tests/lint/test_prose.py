# SPDX-License-Identifier: MIT
"""First lines of docstrings: an instruction, or a noun with what it is about."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
BEGINNINGS: Final = re.compile(r"\s*(?:What|Where|Which|Whose|That)\b")


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of the docstrings of a module, its classes, functions and variables."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for each in node.body:
            if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
                yield each.lineno, str(each.value.value)


def broken(source: str) -> list[int]:
    return [line for line, text in docstrings(source) if BEGINNINGS.match(text)]


def test_docstrings_do_not_begin_with_half_a_sentence() -> None:
    paths = [path for top in ("builder", "bench") for path in sorted((ROOT / top).rglob("*.py"))]
    assert len(paths) > 200
    found = [
        f"{path.relative_to(ROOT)}:{line}" for path in paths for line in broken(path.read_text())
    ]
    assert not found, "begin with a verb for functions, with a noun for all else"


@pytest.mark.parametrize(
    "source",
    [
        '"""What a build is made of."""',
        'class A:\n    """Where files are."""',
        'class A:\n    a = 1\n    """Which one it is."""',
        'def f():\n    """That which is returned."""',
        'A = 1\n"""Whose it is."""',
        'async def f():\n    """\n    What comes."""',
    ],
)
def test_the_rule_finds(source: str) -> None:
    assert broken(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""The parts of a build."""',
        'def f():\n    """Return what a build is made of."""',
        'def f():\n    """Whatever it is."""',
        'a = "What is it?"',
    ],
)
def test_the_rule_lets_pass(source: str) -> None:
    assert not broken(source)
