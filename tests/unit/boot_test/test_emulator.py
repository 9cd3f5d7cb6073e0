# SPDX-License-Identifier: MIT
"""Selection of the QEMU that boots boards."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from builder.apt.archive import Archive, ArchiveUnavailable
from builder.boot_test.emulator import Qemu, found_qemu
from builder.boot_test.emulator_step import QemuPrograms, libraries_in
from builder.boot_test.qemu_release import qemu_source, version_in
from builder.cli.context import Context
from builder.cli.emulator import emulator_plan
from builder.errors import HostError, StepError
from builder.plan.plan import Planned
from builder.report.events import Event, Note
from builder.store.store import Store
from tests.fixtures.command_line import TREE, FakeArchive

NEW, OLD = "11.1.3 (Debian 1:11.1.3+ds-1)", "7.2.22 (Debian 1:7.2+dfsg-7)"


def fake_qemu(folder: Path, version: str) -> Path:
    """Create fake QEMU programs that only print a version."""
    folder.mkdir(exist_ok=True)
    for name in qemu_source().programs:
        (folder / name).write_text(f"#!/bin/sh\necho 'QEMU emulator version {version}'\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\n", (7, 2)),
        ("QEMU emulator version 11.0.0-rc1", (11, 0)),
        ("1:11.1.3+ds-1~bpo13+1", (11, 1)),
        ("10.2.1-1", (10, 2)),
    ],
)
def test_versions_are_read(text: str, version: tuple[int, int]) -> None:
    assert version_in(text) == version


def test_a_missing_version_or_program_is_an_error(tmp_path: Path) -> None:
    folder = fake_qemu(tmp_path / "bin", "none")
    with pytest.raises(HostError, match="does not print its version"):
        found_qemu(folder)
    with pytest.raises(HostError, match="is not installed"):
        found_qemu(tmp_path)


def test_a_recent_version_is_new(tmp_path: Path) -> None:
    new, old = (found_qemu(fake_qemu(tmp_path / each.split()[0], each)) for each in (NEW, OLD))
    assert (new.new, old.new) == (True, False)
    assert str(new) == "QEMU 11.1"
    assert new.program("qemu-system-arm") == f"{tmp_path}/11.1.3/qemu-system-arm"
    assert Qemu(source=new.source, version=(7, 2)).program("x") == "x"


def test_suites_are_of_known_distributions() -> None:
    known = TREE.distribution_files()
    assert {each.distribution for each in qemu_source().origins} <= known.keys()


LISTED = """\
\tlinux-vdso.so.1 (0x00007ffd)
\tlibc.so.6 => /root/lib/libc.so.6 (0x00007f)
\t/lib64/ld-linux-x86-64.so.2 => /root/lib/ld-linux-x86-64.so.2 (0x00007f)
"""


def test_libraries_are_those_of_the_suite_alone() -> None:
    assert libraries_in(LISTED, "/root/lib") == {"libc.so.6", "ld-linux-x86-64.so.2"}
    for other in ("libz.so.1 => /lib/libz.so.1 (0x1)", "libz.so.1 => not found"):
        with pytest.raises(StepError, match=r"library libz.so.1 is not in its packages"):
            libraries_in(f"{LISTED}\t{other}\n", "/root/lib")


# The plan of `build.py test`


class Planning:
    """Plans the QEMU of a test, with an archive or without."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.store = store
        self.context = Context(
            boards_dirs=[],
            store=store.root,
            store_size=0,
            output=folder,
            progress="plain",
            engine="host",
            argv=(),
        )
        self.archive: Archive | ArchiveUnavailable = FakeArchive()
        self.notes: list[Note] = []

    def listen(self, event: Event) -> None:
        assert isinstance(event, Note)
        self.notes.append(event)

    def found(self, *_: object, **__: object) -> Archive:
        if isinstance(self.archive, ArchiveUnavailable):
            raise self.archive
        return self.archive

    def __call__(self, *, offline: bool = False) -> Planned | None:
        return emulator_plan(
            self.context.tree, self.store, self.listen, update=False, offline=offline
        )


@pytest.fixture
def plan(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Planning:
    """The plan on a host with an old QEMU."""
    made = Planning(tmp_path, store)
    monkeypatch.setattr("builder.cli.emulator.emulator_archive", made.found)
    monkeypatch.setenv("PATH", f"{fake_qemu(tmp_path / 'bin', OLD)}:{os.environ['PATH']}")
    return made


def test_a_recent_qemu_of_the_host_is_used(plan: Planning, tmp_path: Path) -> None:
    fake_qemu(tmp_path / "bin", NEW)
    assert plan() is None
    assert plan.notes == []


def test_an_old_qemu_of_the_host_is_replaced(plan: Planning) -> None:
    planned = plan()
    assert planned
    assert isinstance(planned.step, QemuPrograms)
    assert (planned.label, planned.boards, planned.cached) == ("qemu", (), False)
    assert plan.notes == []


@pytest.mark.parametrize(
    ("archive", "offline", "why"),
    [
        (ArchiveUnavailable("none", details=["a: old"]), False, "none; a: old"),
        (FakeArchive(), True, "--offline, and it has not been downloaded yet"),
    ],
)
def test_a_note_says_why_there_is_no_recent_qemu(
    plan: Planning, archive: Archive | ArchiveUnavailable, why: str, *, offline: bool
) -> None:
    plan.archive = archive
    assert plan(offline=offline) is None
    (note,) = plan.notes
    assert note.loud
    assert note.text == (f"using the host's QEMU, which cannot load bitstreams: {why}")


def test_the_step_depends_on_what_the_archive_has(plan: Planning) -> None:
    step = QemuPrograms(FakeArchive(), qemu_source())
    again = pickle.loads(pickle.dumps(step))  # noqa: S301 - our own
    assert again.settings() == step.settings()
    assert {"archive", "package", "programs"} <= step.settings().keys()
    assert step.fetches
