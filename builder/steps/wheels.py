# SPDX-License-Identifier: MIT
"""Python packages of a lock file, fetched for the target without running anything of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.spec.models import Architecture
from builder.steps.step import Job, Step

# Platform tags of PEP 599/600 wheels that run on each architecture's distributions: the oldest
# of them (jammy) has glibc 2.35.
_GLIBC_MINORS = range(35, 16, -1)
_MACHINES = {Architecture.ARMHF: "armv7l", Architecture.ARM64: "aarch64"}


class Wheels(Step):
    """The wheels of a lock file; every one is checked against its hash."""

    fetches = True

    def __init__(
        self, name: str, lock: Path, *, python: str, architecture: Architecture, scope: str
    ) -> None:
        super().__init__(name, scope=scope)
        self.lock = lock
        self.python = python
        self.architecture = architecture

    def settings(self) -> Mapping[str, object]:
        return {"python": self.python, "architecture": self.architecture.value}

    def files(self) -> Sequence[Path]:
        return [self.lock]

    def run(self, job: Job) -> None:
        machine = _MACHINES[self.architecture]
        tags = [*(f"manylinux_2_{minor}_{machine}" for minor in _GLIBC_MINORS), f"linux_{machine}"]
        with job.workspace("wheels", need=1 << 30, network=True) as workspace:
            job.run(
                workspace,
                *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check"),
                *("--no-deps", "--require-hashes", "--only-binary=:all:", "--progress-bar=off"),
                *("--implementation", "cp", "--python-version", self.python),
                *(word for tag in tags for word in ("--platform", tag)),
                *("--requirement", self.lock, "--dest", job.output),
                # A cache would be a second store, not verified by ours.
                environment={"PIP_NO_CACHE_DIR": "1"},
            )
