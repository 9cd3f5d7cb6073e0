# SPDX-License-Identifier: MIT
"""Errors about full disks, wherever they are detected."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from builder.errors import CommandError, HostError, StepError
from builder.sandbox.disk_space import full_disk, full_disk_told
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PlainWorkspace
from tests.fixtures.product import ROOT

MIB = 1 << 20


def statvfs(free: int, inodes: int = 1) -> SimpleNamespace:
    return SimpleNamespace(f_bavail=free, f_frsize=1, f_files=10, f_favail=inodes)


def no_space(filename: Path | None = None, number: int = errno.ENOSPC) -> OSError:
    named = [str(filename)] if filename else []
    return OSError(number, os.strerror(number), *named)


def test_the_directory_that_could_not_be_written_to_is_named(tmp_path: Path) -> None:
    error = full_disk(no_space(tmp_path / "file"), [Path("/")])
    assert error
    assert error.message.startswith(f"{tmp_path}: no space is left, ")
    assert error.message.endswith(" are free")
    assert error.hint
    assert "build.py clean" in error.hint
    assert "--store" in error.hint


def test_without_a_name_it_is_the_disk_with_the_least_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / name for name in ("roomy", "tight", "gone")]
    for place in places[:2]:
        place.mkdir()
    room = {places[0]: 500 * MIB, places[1]: 3 * MIB}
    monkeypatch.setattr(os, "statvfs", lambda path: statvfs(room.get(path, 1 << 40)))
    for error in (
        no_space(),
        no_space(tmp_path / "no/such/file"),
        shutil.Error([("a", "b", str(no_space()))]),
    ):
        found = full_disk(error, places)
        assert found
        assert found.message == f"{places[1]}: no space is left, 3 MiB are free"


def test_a_disk_without_inodes_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: statvfs(900 * MIB, inodes=0))
    found = full_disk(no_space(), [tmp_path])
    assert found
    assert found.message == f"{tmp_path}: no space is left, 900 MiB but no inodes are free"


def test_a_quota_has_its_own_message(tmp_path: Path) -> None:
    found = full_disk(no_space(number=errno.EDQUOT), [tmp_path])
    assert found
    assert ": the user's disk quota is used up, " in found.message


def test_a_commands_error_counts_only_if_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have worked on a tmpfs that this process does not see."""
    said = ["cp: error writing 'x': No space left on device"]
    error = CommandError("cp ended with status 1", replay="cp", status=1, details=said)
    for free, told in ((MIB, True), (1 << 40, False)):
        monkeypatch.setattr(os, "statvfs", lambda _, free=free: statvfs(free))
        found = full_disk(error, [tmp_path])
        assert (found is not None) is told
    monkeypatch.setattr(os, "statvfs", lambda _: statvfs(0))
    (detail,) = (full_disk(error, [tmp_path]) or error).details
    assert detail == said[0]


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "no"), StepError("no"), HostError("No space left on device")]
)
def test_other_failures_are_unchanged(tmp_path: Path, error: Exception) -> None:
    assert full_disk(error, [tmp_path]) is None
    with pytest.raises(type(error)) as caught, full_disk_told(tmp_path):
        raise error
    assert caught.value is error


def test_a_full_disk_is_detected_in_a_commands_output(
    tmp_path: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    workspace = PlainWorkspace(tmp_path / "work", processes=processes)
    monkeypatch.setattr(os, "statvfs", lambda _: statvfs(0))
    with pytest.raises(HostError, match=rf"^{tmp_path}: no space is left, 0 B are free$"):
        workspace.run(["sh", "-c", "echo tar: x: No space left on device; exit 2"])


PROGRAM = f"""
import os, subprocess, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from builder.sandbox.process import Processes
from builder.errors import BuildError
from builder.scheduler.scheduler import Scheduler
from builder.plan.plan import make_plan
from builder.steps.step import Step
from builder.store.store import Store

class Large(Step):
    def settings(self):
        return {{}}

    def run(self, job):
        with (job.output / "large").open("wb") as file:
            for _ in range(8):
                file.write(bytes(1 << 20))

root = Path(sys.argv[1])
store = Store(root / "store")
try:
    Scheduler(make_plan([Large("large", scope="s")], store), store=store, logs=root, jobs=1,
          listener=lambda event: None, processes=Processes()).run()
except BuildError as error:
    print(type(error.cause).__name__, error.message)
print(*os.listdir(root / "store/drafts"), *os.listdir(root / "store/entries"))
"""


@pytest.mark.usefixtures("needs_root")
def test_a_build_on_a_disk_that_is_too_small_says_so(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    mounted = 'mount -t tmpfs -o size=4M none "$0" && exec "$@"'
    done = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c", mounted, str(tmp_path / "disk")),
            *(sys.executable, str(program), str(tmp_path / "disk")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    place = tmp_path / "disk/store"
    assert done.stdout == (
        f"HostError step large failed: {place}: no space is left, 0 B are free\n\n"
    )
