# SPDX-License-Identifier: MIT
"""Sizes of modules and functions: what is longer is hard to read, and has more than one subject."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.fixtures.product import ROOT

MODULE_LINES: Final = 450
FUNCTION_LINES: Final = 60


def modules() -> list[Path]:
    found = sorted((ROOT / "builder").rglob("*.py"))
    assert len(found) > 200
    return found


def long_functions(source: str) -> Iterator[str]:
    """Yield line and name of the functions with more than FUNCTION_LINES lines beside the docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            text = ast.get_docstring(node, clean=False)
            described = 0 if text is None else text.count("\n") + 1
            if node.end_lineno - node.lineno + 1 - described > FUNCTION_LINES:
                yield f"{node.lineno}: {node.name}"


def test_no_module_is_too_long() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for path in modules()
        if (lines := len(path.read_text().splitlines())) > MODULE_LINES
    }
    assert not found


def test_no_function_is_too_long() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{each}"
        for path in modules()
        for each in long_functions(path.read_text())
    ]
    assert not found


def test_a_long_function_is_found() -> None:
    body = "\n".join("    pass" for _ in range(FUNCTION_LINES - 1))
    assert not [*long_functions(f"def f():\n{body}")]
    assert not [*long_functions(f'def f():\n    """One.\n\n    Two.\n    """\n{body}')]
    assert [*long_functions(f"def f():\n{body}\n    pass")] == ["1: f"]
