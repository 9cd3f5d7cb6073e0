# SPDX-License-Identifier: MIT
"""Pytest plugin that keeps the outcome of each test in a file, and leaves out those that passed before.

So a run that was interrupted goes on with the tests that it has not done.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the file."""
    parser.addoption("--progress", type=Path, metavar="FILE", help="outcomes of tests, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Add the file's keeper to pytest's plugins."""
    if file := config.getoption("--progress"):
        config.pluginmanager.register(_Progress(file))


class _Progress:
    """Outcomes by the tests' names: `outcome`, `seconds`, and `why` of what did not pass."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.tests: dict[str, dict[str, Any]] = (
            json.loads(file.read_text()) if file.exists() else {}
        )

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        done = {name for name, test in self.tests.items() if test["outcome"] == "passed"}
        left_out = [item for item in items if item.nodeid in done]
        items[:] = [item for item in items if item.nodeid not in done]
        # Forget tests that are gone, or will run again.
        names = {item.nodeid for item in left_out}
        self.tests = {name: test for name, test in self.tests.items() if name in names}
        config.hook.pytest_deselected(items=left_out)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self.tests.setdefault(report.nodeid, {"outcome": "unfinished", "seconds": 0.0})
        test["seconds"] = round(test["seconds"] + report.duration, 1)
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            test |= {"outcome": "skipped", "why": report.longrepr[2].removeprefix("Skipped: ")}
        elif report.outcome == "failed":
            test["outcome"] = "failed"
        elif report.when == "teardown" and test["outcome"] == "unfinished":
            test["outcome"] = "passed"
        if report.when == "teardown":
            draft = self.file.with_suffix(".new")
            draft.write_text(json.dumps(self.tests, indent=1) + "\n")
            draft.replace(self.file)
