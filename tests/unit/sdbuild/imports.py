# SPDX-License-Identifier: MIT
"""Imports of a made-up repository of boards, and what they report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from builder.sdbuild_import.importer import Wish, import_board
from builder.sdbuild_import.report import Outcome, Report
from tests.unit.command_line import TREE
from tests.unit.sdbuild.repository import write_board


class Imports:
    """Imports boards of the made-up repository."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "repository"
        self.target = folder / "boards"

    def write(self, name: str) -> Path:
        return write_board(self.source, name)

    def __call__(self, name: str, **wish: Any) -> Report:
        source = self.source / name
        if not source.exists():
            self.write(name)
        return import_board(source, self.target, TREE, Wish(**wish))

    def keys(self, name: str, **wish: Any) -> dict[str, Any]:
        self(name, **wish)
        found: dict[str, Any] = yaml.safe_load(self.text(name, "board.yaml"))
        return found

    def text(self, name: str, file: str) -> str:
        return (self.target / name / file).read_text()

    def bsp(self, name: str, **wish: Any) -> Any:
        return self.keys(name, **wish)["bsp"]

    def wrote(self) -> list[str]:
        return sorted(path.name for path in self.target.iterdir()) if self.target.exists() else []


def said(report: Report, outcome: Outcome, path: str, line: int = 0) -> list[str]:
    return [
        each.what for each in report.of(outcome) if each.path == path and line in (0, each.line)
    ]
