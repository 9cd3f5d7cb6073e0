# SPDX-License-Identifier: MIT
"""Linters of Python, of the direction of imports, and of shell scripts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.fixtures.product import names, run_clean

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--no-cache"],
        ["ruff", "format", "--check", "--no-cache"],
        ["mypy"],
        ["lint-imports"],
        ["codespell"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_tree_passes(command: list[str]) -> None:
    run_clean(*command)


def test_shell_scripts_pass_shellcheck() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed: apt-get install shellcheck")
    scripts = names(".sh")
    assert scripts
    run_clean("shellcheck", *scripts)
