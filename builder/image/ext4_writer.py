# SPDX-License-Identifier: MIT
"""The program that writes a tree into an ext4, compiled for the machine that builds."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.steps.step import Job, Step

WRITER = "write-ext4"
"""Name of the program in the step's output; its source says what it does."""

_HEADER = Path(__file__).with_name("ext4_writer.h")
_SOURCES = tuple(_HEADER.with_name(f"ext4_{part}.c") for part in ("writer", "content", "directory"))


class Ext4Writer(Step):
    """The program. Dynamically linked: it is used where it is compiled."""

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
    """Return the command that compiles the program as the file `target`."""
    options = ("gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread")
    return [*options, "-o", target, *_SOURCES, "-lext2fs", "-lcom_err"]
