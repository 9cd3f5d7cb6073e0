# SPDX-License-Identifier: MIT
"""Prebuilt programs of boards: firmware that a distribution's compilers cannot build."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.steps.step import Job, Step


@dataclass(frozen=True, kw_only=True)
class Program:
    """A prebuilt program: either a file of the board or a download."""

    name: str
    path: Path | None = None
    download: Step | None = None

    def find(self, job: Job) -> Path:
        """Return the program's path in a running step that has it as an input."""
        if self.download:
            (path,) = job.input(self.name).iterdir()
            return path
        assert self.path, "a program has a path or a download"
        return self.path


def downloads(programs: Iterable[Program | None]) -> dict[str, Step]:
    """Return the parent steps of a step that reads programs."""
    return {each.name: each.download for each in programs if each and each.download}


def files(programs: Iterable[Program | None]) -> list[Path]:
    """Return the input files of a step that reads programs."""
    return [each.path for each in programs if each and each.path]
