# SPDX-License-Identifier: MIT
"""Command line and environment of pytest for checks, on the host and on the board."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1",
    # Ignore other plugins and options that are installed or set on this machine.
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_ADDOPTS": "",
}
"""Environment variables for the command line of `words`."""


LONG = "long"
"""Marker of slow checks: `@pytest.mark.long(WHY)`."""

QUICK = f"not {LONG}"
"""Expression for pytest's option -m that `--quick` selects."""

LIMIT = 1800
"""Time limit of a check in seconds, including its fixtures. The slowest check takes two minutes on an
emulated board with a processor of its own; CI machines may be several times slower."""


@dataclass(frozen=True)
class Selection:
    """Selection of checks: those that match an expression (pytest's -k); `quick` skips slow ones."""

    expression: str | None = None
    quick: bool = False

    def for_pytest(self) -> list[str]:
        """Return the options for pytest."""
        return [*self._expression(), *(["-m", QUICK] if self.quick else [])]

    def for_selftest(self) -> list[str]:
        """Return the options for the self-test command on the board."""
        return [*self._expression(), *(["--quick"] if self.quick else [])]

    def _expression(self) -> list[str]:
        return ["-k", self.expression] if self.expression else []


def words(context: Path, report: Path, *, root: Path, selection: Selection) -> list[str]:
    """Return the arguments of Python that run the checks of a context.

    Args:
        context: JSON file with the facts about the image.
        report: file for the report.
        root: directory to which pytest shows file names relative.
        selection: the checks to run.
    """
    checks = json.loads(context.read_text())["checks"].values()
    # Images of older releases lack pytest-timeout, but get these modules when they are customized.
    limit = ("-p", "pytest_timeout", f"--timeout={LIMIT}") if find_spec("pytest_timeout") else ()
    return [
        *("-m", "pytest", "-c", "/dev/null", "--rootdir", str(root), "--import-mode=importlib"),
        *("-p", "no:cacheprovider"),
        *("-p", "builder.target_tests.plugin", "-p", "builder.target_tests.memory"),
        *("-v", "--no-header", "--tb=short", "--strict-markers", "--durations=10"),
        *limit,
        *("--context", str(context), "--report", str(report)),
        *selection.for_pytest(),
        *(str(context.parent / path) for path in checks),
    ]


def variable(recipe: str, parameter: str) -> str:
    """Return the environment variable that passes a secret parameter to the checks on a board."""
    return f"PARAM_{recipe}_{parameter}".upper().replace("-", "_")
