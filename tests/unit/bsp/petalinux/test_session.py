# SPDX-License-Identifier: MIT
"""Directories of a session: only the commands' user can write to them."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import cast

import pytest

from builder.bsp.petalinux.system import Session, System
from builder.containers.containers import Containers
from builder.steps.step import Job, Tools


class Caller:
    """Container runner for a user other than root."""

    user = "12345:12346"


class Shared:
    """The part of a job's tools that a session uses."""

    containers = cast(Containers, Caller())


@pytest.mark.usefixtures("needs_root")
def test_only_the_commands_user_can_write(job: Job, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (cache / "below").mkdir(parents=True)
    (cache / "below/file").touch()
    cache.chmod(0o777)
    (cache / "out").symlink_to(tmp_path)
    before = tmp_path.stat().st_uid
    job.tools = cast(Tools, Shared())
    work = tmp_path / "work"
    opened = Session(job, cast(System, None), image="petalinux", work=work, mounts=[])
    opened.open_to_user(cache)
    for path in (work, work / "home", cache):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (12345, 12346)
        assert stat.S_IMODE(status.st_mode) == 0o755
    assert (cache / "below/file").stat().st_uid == 12345
    assert tmp_path.stat().st_uid == before, "no link leads further"
