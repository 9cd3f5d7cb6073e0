# SPDX-License-Identifier: MIT
"""Finished programs that boards bring: firmware that no compiler of a distribution can make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.steps.step import Job, Step


@dataclass(frozen=True, kw_only=True)
class Program:
    """A finished program: either a file of the board, or what a step downloads."""

    name: str
    path: Path | None = None
    download: Step | None = None

    def find(self, job: Job) -> Path:
        """Return where it is while a step runs that has it among its inputs."""
        if self.download:
            (path,) = job.input(self.name).iterdir()
            return path
        assert self.path, "one of both is there"
        return self.path


def downloads(programs: Iterable[Program | None]) -> dict[str, Step]:
    """Return the parents of a step that reads programs."""
    return {each.name: each.download for each in programs if each and each.download}


def files(programs: Iterable[Program | None]) -> list[Path]:
    """Return the files of a step that reads programs."""
    return [each.path for each in programs if each and each.path]
