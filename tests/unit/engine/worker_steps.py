# SPDX-License-Identifier: MIT
"""Steps for the tests of the worker, which another process must be able to import."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from builder.errors import CommandError
from builder.sandbox.process import clean_environment
from builder.steps.step import ROOT_FILESYSTEM, Job, Step

STARTED: list[subprocess.Popen[str]] = []
"""What a step started and left running."""


class Capable(Step):
    """Says in which process it runs; `how` it ends is up to the test."""

    capabilities: ClassVar[Sequence[str]] = ROOT_FILESYSTEM

    def __init__(self, how: str = "well") -> None:
        super().__init__(f"capable-{how}", scope="test")
        self.how = how

    def settings(self) -> Mapping[str, object]:
        return {"how": self.how}

    def run(self, job: Job) -> None:
        job.say("at work")
        (job.output / "process").write_text(str(os.getpid()))
        if self.how == "badly":
            raise CommandError("it failed", replay="it --again", status=9, details=["why"])
        if self.how == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.how == "surprisingly":
            raise ZeroDivisionError
        if self.how == "dead":
            os._exit(5)
        if self.how == "starting":
            nothing = subprocess.DEVNULL
            STARTED.append(
                job.tools.processes.start(
                    ["sleep", "600"],
                    environment=clean_environment(),
                    stdin=nothing,
                    stdout=nothing,
                    stderr=nothing,
                )
            )
        if self.how == "looking":
            time.sleep(0.3)
            job.say(f"still running: {STARTED[0].poll() is None}")
        if self.how == "slowly":
            with job.workspace("slow", need=0) as workspace:
                job.run(workspace, "sleep", "600")


class Plain(Capable):
    """Needs nothing of that kind."""

    capabilities = ()
