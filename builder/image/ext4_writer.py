# SPDX-License-Identifier: MIT
"""The program that writes a directory tree into an ext4 filesystem, compiled for the host."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.steps.step import Job, Step

WRITER = "write-ext4"
"""The program in the step's output; ext4_writer.c describes it."""

_HEADER = Path(__file__).with_name("ext4_writer.h")
_SOURCES = tuple(_HEADER.with_name(f"ext4_{part}.c") for part in ("writer", "content", "directory"))


class Ext4Writer(Step):
    """The program `write-ext4`, dynamically linked, since it runs only where it was compiled."""

    packages = ("gcc", "libext2fs-dev")

    def __init__(self) -> None:
        super().__init__("ext4-writer", scope="images")

    def settings(self) -> Mapping[str, object]:
        return {"machine": platform.machine()}

    def files(self) -> Sequence[Path]:
        return [*_SOURCES, _HEADER]

    def run(self, job: Job) -> None:
        with job.workspace("ext4-writer", need=1 << 20) as workspace:
            job.run(workspace, *compilation(job.output / WRITER))


def compilation(target: Path) -> list[str | Path]:
    """Return the command that compiles the program to the file `target`."""
    options = ("gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread")
    return [*options, "-o", target, *_SOURCES, "-lext2fs", "-lcom_err"]
