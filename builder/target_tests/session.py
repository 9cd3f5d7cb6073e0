# SPDX-License-Identifier: MIT
"""How checks are run: pytest's command line, and what it finds around it.

For a machine that looks at a board, and for the board that looks at itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1",
    # The machine may have plugins, and options for other tests, that are not for these.
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_ADDOPTS": "",
}
"""Variables of the environment that `words` needs."""


LONG = "long"
"""Marker of checks that take long: `@pytest.mark.long(WHY)`."""

QUICK = f"not {LONG}"
"""Expression for pytest's -m that `--quick` stands for."""

LIMIT = 1800
"""Seconds that a check may take, its fixtures included. The longest takes two minutes on an emulated
board with a processor of its own; machines of CI may be several times as slow."""


@dataclass(frozen=True)
class Selection:
    """Choice of checks: those that fit an expression, as pytest's -k; `quick` leaves out long ones."""

    expression: str | None = None
    quick: bool = False

    def for_pytest(self) -> list[str]:
        """Return the options for pytest."""
        return [*self._expression(), *(["-m", QUICK] if self.quick else [])]

    def for_selftest(self) -> list[str]:
        """Return the options for the command on the board."""
        return [*self._expression(), *(["--quick"] if self.quick else [])]

    def _expression(self) -> list[str]:
        return ["-k", self.expression] if self.expression else []


def words(context: Path, report: Path, *, root: Path, selection: Selection) -> list[str]:
    """Return Python's arguments that run the checks which a context names.

    Args:
        context: what is known of the image, a JSON file.
        report: where the report is to be written.
        root: what names of files are shown relative to.
        selection: which of the checks are run.
    """
    checks = json.loads(context.read_text())["checks"].values()
    # Images of older releases lack the plugin; customizing gives them these very files.
    limit = ("-p", "pytest_timeout", f"--timeout={LIMIT}") if find_spec("pytest_timeout") else ()
    return [
        *("-m", "pytest", "-c", "/dev/null", "--rootdir", str(root), "--import-mode=importlib"),
        *("-p", "no:cacheprovider", "-p", "builder.target_tests.plugin"),
        *("-v", "--no-header", "--tb=short", "--strict-markers", "--durations=10"),
        *limit,
        *("--context", str(context), "--report", str(report)),
        *selection.for_pytest(),
        *(str(context.parent / path) for path in checks),
    ]


def variable(recipe: str, parameter: str) -> str:
    """Return the environment variable by which a secret parameter reaches the checks on a board."""
    return f"PARAM_{recipe}_{parameter}".upper().replace("-", "_")
