# SPDX-License-Identifier: MIT
"""How checks are run: pytest's command line, and what it finds around it.

For a machine that looks at a board, and for the board that looks at itself.
"""

from __future__ import annotations

import json
from pathlib import Path

ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1",
    # The machine may have plugins, and options for other tests, that are not for these.
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_ADDOPTS": "",
}
"""What `words` wants to find in the environment."""


def words(context: Path, report: Path, *, hosts: str, root: Path) -> list[str]:
    """Return Python's arguments that run the checks which a context names.

    Args:
        context: what is known of the image, a JSON file.
        report: where the report is to be written.
        hosts: the board, as testinfra names it.
        root: what names of files are shown relative to.
    """
    checks = json.loads(context.read_text())["checks"].values()
    return [
        *("-m", "pytest", "-c", "/dev/null", "--rootdir", str(root), "--import-mode=importlib"),
        *("-p", "no:cacheprovider", "-p", "testinfra.plugin", "-p", "builder.checks.plugin"),
        *("-q", "--no-header", "--tb=short", "--strict-markers", "--hosts", hosts),
        *("--context", str(context), "--report", str(report)),
        *(str(context.parent / path) for path in checks),
    ]


def variable(recipe: str, parameter: str) -> str:
    """Return the environment variable by which a secret parameter reaches the checks on a board."""
    return f"PARAM_{recipe}_{parameter}".upper().replace("-", "_")
