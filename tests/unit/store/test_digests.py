# SPDX-License-Identifier: MIT
"""Cached checksums of large files: a file is read again only if it may have changed."""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from functools import partial
from pathlib import Path

import pytest

from builder.store.checksum import sha256
from builder.store.store import Store

SIZE = 2 << 20


class Reader:
    """Reader of files that counts its calls."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, path: Path) -> str:
        self.times += 1
        return sha256(path)


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(b"a" * SIZE)
    return path


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock show a later time, as if the files were older."""
    now = time.time_ns
    monkeypatch.setattr("builder.store.digests.time.time_ns", lambda: now() + 3_000_000_000)


def expected(letter: bytes, size: int = SIZE) -> str:
    return hashlib.sha256(letter * size).hexdigest()


@pytest.mark.usefixtures("later")
def test_what_has_not_changed_is_not_opened_again(
    store: Store, large: Path, reader: Reader
) -> None:
    assert store.digest(large, reader) == expected(b"a")

    def refuse(_: Path) -> str:
        pytest.fail("it is read again")

    assert store.digest(large, refuse) == expected(b"a")
    assert Store(store.root).digest(large.parent / "." / large.name, refuse) == expected(b"a")


@pytest.mark.usefixtures("later")
def test_a_change_that_hides_behind_size_and_time_is_seen(
    store: Store, large: Path, reader: Reader
) -> None:
    before = large.stat()
    store.digest(large, reader)
    time.sleep(0.02)  # more than a tick of the file system's clock
    large.write_bytes(b"b" * SIZE)
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = large.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )
    assert store.digest(large, reader) == expected(b"b")
    assert reader.times == 2


@pytest.mark.usefixtures("later")
def test_another_file_under_the_name_is_read(store: Store, large: Path, reader: Reader) -> None:
    store.digest(large, reader)
    other = large.with_suffix(".new")
    other.write_bytes(b"c" * SIZE)
    other.replace(large)
    assert store.digest(large, reader) == expected(b"c")


def test_nothing_is_noted_of_what_has_just_changed(
    store: Store, large: Path, reader: Reader
) -> None:
    """The next change may have the same time."""
    store.digest(large, reader)
    store.digest(large, reader)
    assert reader.times == 2
    assert not list((store.root / "digests").iterdir())


@pytest.mark.usefixtures("later")
def test_nothing_is_noted_of_what_changes_while_it_is_read(store: Store, large: Path) -> None:
    def read(path: Path) -> str:
        found = sha256(path)
        with path.open("ab") as file:
            file.write(b"more")
        return found

    store.digest(large, read)
    assert not list((store.root / "digests").iterdir())


@pytest.mark.usefixtures("later")
def test_small_files_are_read(store: Store, tmp_path: Path, reader: Reader) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"a")
    assert store.digest(small, reader) == store.digest(small, reader) == expected(b"a", 1)
    assert not list((store.root / "digests").iterdir())


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("damage", ["", "[]", "{", '{"state": 1}'])
def test_a_damaged_note_is_written_anew(
    store: Store, large: Path, reader: Reader, damage: str
) -> None:
    store.digest(large, reader)
    (note,) = (store.root / "digests").iterdir()
    note.write_text(damage)
    assert store.digest(large, reader) == expected(b"a")
    store.digest(large, reader)
    assert reader.times == 2


def test_without_a_file_it_is_the_callers_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.digest(tmp_path / "none", sha256)


@pytest.mark.usefixtures("later")
def test_steps_take_it_to_other_processes(store: Store, large: Path) -> None:
    read = pickle.loads(pickle.dumps(partial(store.digest, read=sha256)))  # noqa: S301 - our own
    assert read(large) == expected(b"a")
    assert list((store.root / "digests").iterdir())


def test_it_goes_with_the_store(store: Store, large: Path, later: None) -> None:
    store.digest(large, sha256)
    assert store.empty()
    assert not (store.root / "digests").exists()
    assert Store(store.root).digest(large, sha256) == expected(b"a")
