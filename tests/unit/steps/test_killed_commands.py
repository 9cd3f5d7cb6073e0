# SPDX-License-Identifier: MIT
"""Ends of commands that a step must not take for a result of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import CommandError, StepError
from builder.sandbox.workspace import PlainWorkspace
from builder.steps.step import Job


def run(job: Job, workspace: PlainWorkspace, script: str) -> None:
    """Run a script whose failure is a result."""
    try:
        job.run(workspace, "sh", "-c", script)
    except StepError as error:
        job.raise_if_killed(workspace, error)


@pytest.mark.parametrize("script", ["exit 1", "exit 127"])
def test_a_failure_may_be_a_result(job: Job, tmp_path: Path, script: str) -> None:
    run(job, PlainWorkspace(tmp_path, processes=job.tools.processes), script)


@pytest.mark.parametrize("script", ["kill -KILL $$", 'sh -c "kill -KILL \\$\\$"; exit $?'])
def test_the_end_of_a_killed_command_is_none(job: Job, tmp_path: Path, script: str) -> None:
    workspace = PlainWorkspace(tmp_path, processes=job.tools.processes)
    with pytest.raises(CommandError) as caught:
        run(job, workspace, script)
    assert caught.value.killed


def test_nor_is_what_happens_when_the_build_is_stopped(job: Job, tmp_path: Path) -> None:
    workspace = PlainWorkspace(tmp_path, processes=job.tools.processes)
    job.tools.processes.stop()
    with pytest.raises(StepError):
        job.raise_if_killed(workspace, StepError("failed"))


def test_a_killed_workspace_fails_the_step(job: Job) -> None:
    with pytest.raises(StepError, match="was killed"), job.workspace("one", need=1) as workspace:
        workspace.close()
