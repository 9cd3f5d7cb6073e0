# SPDX-License-Identifier: MIT
"""Report on the import of an sdbuild board: one finding per file or line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any


class Outcome(str, Enum):
    """The outcome for a part of the board."""

    PERSON = "person"
    CONVERTED = "converted"
    AS_IT_IS = "as it is"
    LEFT = "left out"


_TITLES = {
    Outcome.PERSON: "needs your attention",
    Outcome.CONVERTED: "converted",
    Outcome.AS_IT_IS: "used unchanged",
    Outcome.LEFT: "left out, not needed",
}


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """The outcome for a file, or a line of it; `path` is relative to the board's directory."""

    path: str
    line: int = 0
    outcome: Outcome
    what: str

    def __str__(self) -> str:
        return f"{self.path}{f':{self.line}' if self.line else ''}: {self.what}"


@dataclass(kw_only=True)
class Report:
    """Findings about the import of a board.

    Attributes:
        board: name of the board.
        source: directory of the sdbuild board.
        directory: directory of the result; None if the board is not supported at all.
        findings: outcomes for files and lines.
        problems: validation errors of the resulting board.yaml; if empty, it can be planned.
    """

    board: str
    source: Path
    directory: Path | None = None
    findings: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, path: Path | str, outcome: Outcome, what: str, *, line: int = 0) -> None:
        """Add the outcome for a file of the board, or for a line of it."""
        name = str(path.relative_to(self.source)) if isinstance(path, Path) else path
        finding = Finding(path=name, line=line, outcome=outcome, what=what)
        if finding not in self.findings:
            self.findings.append(finding)

    def of(self, outcome: Outcome) -> list[Finding]:
        """Return the findings of one kind, in the order of their files."""
        return sorted(each for each in self.findings if each.outcome is outcome)

    @property
    def files(self) -> set[str]:
        """The files with findings."""
        return {each.path for each in self.findings}

    def text(self) -> list[str]:
        """Return the report as lines of text, beginning with the user's tasks."""
        lines = [f"{self.board}: {self.summary}"]
        for outcome, title in _TITLES.items():
            findings = self.of(outcome)
            if findings:
                lines += ["", f"{title}:", *(f"  {finding}" for finding in _gathered(findings))]
        if self.problems:
            lines += ["", "to do before a build:", *(f"  {problem}" for problem in self.problems)]
        return lines

    @property
    def summary(self) -> str:
        """Summary of the import in one line."""
        counts = ", ".join(
            f"{len(self.of(outcome))} {outcome.value}" for outcome in _TITLES if self.of(outcome)
        )
        if self.directory is None:
            return f"nothing was written ({counts})"
        ready = "NOT ready to be planned" if self.problems else "can be planned"
        return f"{self.directory}: {ready} ({counts})"

    def json(self) -> dict[str, Any]:
        """Return the report in JSON form."""
        return {
            "board": self.board,
            "source": str(self.source),
            "directory": str(self.directory) if self.directory else None,
            "plannable": self.directory is not None and not self.problems,
            "problems": self.problems,
            "findings": [
                {
                    "path": each.path,
                    "line": each.line or None,
                    "outcome": each.outcome.value,
                    "what": each.what,
                }
                for each in sorted(self.findings)
            ],
        }


def _gathered(findings: Sequence[Finding]) -> list[str]:
    """Return findings as lines; several files of a directory with the same outcome share a line."""
    places: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        folder = finding.path.rpartition("/")[0]
        places.setdefault((folder, finding.what), []).append(finding)
    lines: list[str] = []
    for (folder, what), alike in places.items():
        if len(alike) > 2 and folder and not any(each.line for each in alike):
            lines.append(f"{folder}/: {len(alike)} files: {what}")
        else:
            lines += map(str, alike)
    return lines
