# SPDX-License-Identifier: MIT
"""The pytest plugin with what checks have that run from outside, beside `builder.checks.plugin`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.machine.notebook import Notebooks


@pytest.fixture(scope="session")
def output(pytestconfig: pytest.Config) -> Path:
    """The board's output directory, for what a check leaves to look at."""
    report: Path = pytestconfig.getoption("report")
    return report.parent


@pytest.fixture(scope="session")
def run_notebook(
    jupyter_url: str, parameters: dict[str, dict[str, Any]]
) -> Callable[[str, Sequence[str]], list[str]]:
    """Run cells as a notebook of that name on the board's Jupyter; return what each printed."""
    return lambda name, cells: Notebooks(jupyter_url, parameters["jupyter"]["password"]).run(
        name, cells
    )


@pytest.fixture(scope="session")
def send(_facts: dict[str, Any]) -> Callable[[bytes, str], None]:
    """Write bytes into a file of the board's, which root may execute."""

    def write(content: bytes, path: str) -> None:
        words = [*_facts["shell"], f"cat > {path} && chmod 0755 {path}"]
        subprocess.run(words, input=content, check=True, capture_output=True)

    return write
