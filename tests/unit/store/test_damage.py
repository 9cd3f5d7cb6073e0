# SPDX-License-Identifier: MIT
"""Detection of damaged entries, without reading unchanged files again."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.store import checksum as checksum_module
from builder.store import tree as tree_module
from builder.store.checksum import sha256, sha256_once
from builder.store.records import Unreadable
from builder.store.store import Entry, Store
from builder.store.tree import Member, hash_of, text_of, tree_in

KIB, MIB = 1 << 10, 1 << 20
OLD = 1_000_000_000


def fill(files: Path) -> None:
    """Create one file of each kind in a directory."""
    (files / "folder").mkdir()
    (files / "folder/small").write_text("small")
    (files / "large").write_bytes(b"x" * 2 * MIB)
    (files / "link").symlink_to("large")
    (files / "empty").touch()


def add(store: Store, key: str = "k") -> Entry:
    with store.building(key):
        fill(store.draft(key))
        return store.commit(key, step="kernel", components={}, seconds=1)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are hashed during a verification."""
    names: list[str] = []

    def hashing(path: Path, stopped: Callable[[], bool] = lambda: False) -> str:
        names.append(path.name)
        return sha256(path, stopped)

    monkeypatch.setattr(tree_module, "sha256", hashing)
    return names


def flip(path: Path) -> None:
    """Change one bit of a file, but not its size and time of modification."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    # A disk that goes bad does not wait for the clock; a program that writes at once would.
    time.sleep(0.03)
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


DAMAGE = [
    ("large", flip, "files/large has other content"),
    ("folder/small", flip, "files/folder/small has other content"),
    ("large", lambda path: os.truncate(path, MIB), "files/large has 1048576 bytes, not 2097152"),
    ("empty", lambda path: path.write_text("x"), "files/empty has 1 bytes, not 0"),
    ("folder/small", Path.unlink, "files/folder/small is missing"),
    ("folder/new", Path.touch, "files/folder/new does not belong there"),
    ("folder", lambda path: path.chmod(0o700), "files/folder has mode 700, not 755"),
    ("large", lambda path: path.chmod(0o755), "files/large has mode 755, not 644"),
    (
        "link",
        lambda path: replace(path, lambda it: it.symlink_to("/")),
        "files/link leads elsewhere",
    ),
    ("link", lambda path: replace(path, Path.touch), "files/link is another kind of file"),
    ("../tree.json", flip, "tree.json has changed"),
    ("../tree.json", lambda path: path.write_bytes(b"\xff"), "cannot be read: "),
    ("../tree.json", Path.unlink, "tree.json is missing"),
    ("../entry.json", lambda path: path.write_text("{"), "entry.json cannot be read: "),
]


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("fully", [False, True])
@pytest.mark.parametrize(("name", "do", "said"), DAMAGE)
def test_damage_is_named(
    store: Store, name: str, do: Callable[[Path], object], said: str, *, fully: bool
) -> None:
    entry = add(store)
    assert store.damage("k", fully=fully) is None
    if name.startswith("../tree"):  # which is not read as long as the files stay as they are
        os.utime(entry.files / "large")
    do(entry.files / name)
    damage = store.damage("k", fully=fully)
    assert damage
    assert said in damage
    assert store.damage("k", fully=fully) == damage, "it is not forgotten"


def test_a_directory_of_files_that_is_gone_is_damage(store: Store) -> None:
    entry = add(store)
    entry.files.rename(store.root / "scratch/gone")
    assert store.damage("k") == "files is missing"


def test_what_is_not_there_is_not_damaged(store: Store) -> None:
    assert store.damage("k") is None


def test_what_was_verified_is_not_read_again_until_it_changes(
    store: Store, read: list[str]
) -> None:
    entry = add(store)
    assert store.damage("k") is None
    assert "large" not in read, "its maker has just read it"
    time.sleep(0.03)
    assert store.damage("k") is None
    read.clear()
    assert Store(store.root).damage("k") is None
    assert read == []
    os.utime(entry.files / "large", (OLD, OLD))
    time.sleep(0.03)
    assert store.damage("k") is None
    assert store.damage("k") is None
    assert read == ["large"]
    read.clear()
    assert store.damage("k", fully=True) is None
    assert sorted(read) == ["empty", "large", "small"]


def test_what_has_just_changed_is_read_again(store: Store, read: list[str]) -> None:
    """A second change within the same tick of the clock would not be noticed."""
    entry = add(store)
    time.sleep(0.03)
    (entry.files / "folder/small").write_text("small")
    store.damage("k")
    read.clear()
    store.damage("k")
    assert read == ["small"]


def test_what_a_disk_changed_by_itself_is_found_by_reading_all(store: Store) -> None:
    """The times do not show the change: the note has the file's current state."""
    entry = add(store)
    flip(entry.files / "large")
    note = entry.path / "verified.json"
    known = json.loads(note.read_text())
    known["states"] = {
        name: list(checksum_module.state(status))
        for name, status in tree_module.listed(entry.files).items()
    }
    note.write_text(json.dumps(known))
    assert store.damage("k") is None
    assert store.damage("k", fully=True) == "files/large has other content"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tree": 1}', '{"tree": "x", "states": {}}'])
def test_a_damaged_note_of_what_was_verified_counts_for_nothing(
    store: Store, text: str, read: list[str]
) -> None:
    entry = add(store)
    note = entry.path / "verified.json"
    note.write_text(text)
    time.sleep(0.03)
    assert store.damage("k") is None
    assert "large" in read
    read.clear()
    assert store.damage("k") is None
    assert read == []


def test_a_copy_of_an_entry_is_read_once(store: Store, read: list[str], tmp_path: Path) -> None:
    add(store)
    shutil.copytree(store.root, tmp_path / "copy", symlinks=True)
    time.sleep(0.03)
    copy = Store(tmp_path / "copy")
    assert copy.damage("k") is None
    assert sorted(read) == ["empty", "large", "small"]
    read.clear()
    assert copy.damage("k") is None
    assert read == []


def test_a_file_that_the_disk_does_not_give_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, _: object) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    entry = add(store)
    monkeypatch.setattr(checksum_module, "_hash", broken)
    damage = store.damage("k", fully=True)
    assert damage
    assert damage.startswith("it cannot be read: [Errno 5] Input/output error: ")
    assert str(entry.files) in damage


def test_a_file_of_another_users_is_not_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, _: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    add(store, "before")
    with monkeypatch.context() as patch:
        patch.setattr(checksum_module, "_hash", refused)
        with pytest.raises(PermissionError):
            store.damage("before", fully=True)
        add(store)
        assert store.damage("k", fully=True) is None
    assert store.damage("k", fully=True) is None, "what could not be read when it was made"


def test_reading_ends_when_it_is_interrupted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = add(store)
    stops: list[Callable[[], bool]] = []

    def hashing(path: Path, stopped: Callable[[], bool]) -> str:
        if path.name == "empty":
            raise KeyboardInterrupt
        if path.name == "large":
            stops.append(stopped)
            while not stopped():
                time.sleep(0.001)
        return sha256(path, stopped)

    monkeypatch.setattr(tree_module, "sha256", hashing)
    with pytest.raises(KeyboardInterrupt):
        store.damage("k", fully=True)
    assert stops
    with pytest.raises(KeyboardInterrupt):
        sha256(entry.files / "large", lambda: True)


# Entries that cannot be read


BROKEN = [b"", b"{", b"[]", b'{"step": "kernel"}', b"\xff\xfe", b"[" * 100_000, b"null", b"7"]


@pytest.mark.parametrize("content", BROKEN)
def test_an_entry_without_a_description_is_not_there_and_is_made_again(
    store: Store, content: bytes
) -> None:
    entry = add(store)
    add(store, "other")
    (entry.path / "entry.json").write_bytes(content)
    assert store.get("k") is None
    damage = store.damage("k")
    assert damage
    assert "entry.json cannot be " in damage
    assert [each.key for each in store.entries()] == ["other"]
    assert store.keys() == ["k", "other"]
    add(store)
    assert store.damage("k", fully=True) is None
    assert store.get("k")
    assert not list((store.root / "scratch").iterdir())


def test_an_entry_of_an_earlier_version_cannot_be_trusted_but_lasts(store: Store) -> None:
    path = add(store).path / "entry.json"
    description = json.loads(path.read_text())
    del description["tree"]
    description["built"] = "2026-01-02T03:04:05.678Z"
    path.write_text(json.dumps(description))
    damage = store.damage("k")
    assert damage
    assert "an earlier version of the builder" in damage
    store.evict(100 * MIB)
    (entry,) = store.entries()
    assert entry.ended == 1767323045.678


def test_eviction_takes_what_cannot_be_read(store: Store) -> None:
    add(store)
    (add(store, "broken").path / "entry.json").write_text("")
    (add(store, "without").path / "entry.json").unlink()
    store.evict(100 * MIB)
    assert store.keys() == ["k"]


def test_a_damaged_entry_is_removed_unless_somebody_makes_it_anew(store: Store) -> None:
    add(store)
    with store.building("k"):
        assert not store.drop("k")
        assert store.get("k")
    assert store.drop("k")
    assert store.keys() == []
    assert not list((store.root / "scratch").iterdir())


@pytest.mark.parametrize("content", [b"", b"[]", b'{"setting x": []}', b"\xff\xfe", b"[" * 100_000])
def test_a_broken_memory_of_a_step_is_told(store: Store, content: bytes) -> None:
    store.remember("board", "s", {"setting x": "1"})
    path = store.root / "last/board/s.json"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=r"^/.*/last/board/s\.json cannot be "):
        store.last("board", "s")
    store.remember("board", "s", {"setting x": "2"})
    assert store.last("board", "s") == {"setting x": "2"}


def test_what_is_remembered_is_on_the_disk_before_it_is_in_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, move = os.fsync, Path.replace

    def synced(file: int) -> None:
        done.append("synced")
        fsync(file)

    def moved(path: Path, to: Path) -> Path:
        done.append(f"-> {to.name}")
        return move(path, to)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    store.remember("board", "s", {"setting x": "1"})
    assert done == ["synced", "-> s.json"]


# Hash trees


def test_equal_content_has_an_equal_tree_wherever_and_whenever_it_is(
    store: Store, tmp_path: Path
) -> None:
    entry = add(store)
    other = add(Store(tmp_path / "other"))
    assert entry.tree_hash == other.tree_hash
    with store.building("third"):
        (store.draft("third") / "empty").touch()
        third = store.commit("third", step="s", components={}, seconds=1)
    assert third.tree_hash != entry.tree_hash


def test_any_name_can_be_in_a_tree() -> None:
    names = ["", "a\nb", 'a"b', "\udcff", "\u00e4"]
    tree = {name: Member(0o100644, 1, "0" * 64) for name in names}
    text = text_of(tree)
    assert tree_in(text) == tree
    assert text.isascii()
    assert len(text.splitlines()) == len(names) + 2, "a line for each"
    assert hash_of(text) == hashlib.sha256(text.encode()).hexdigest()


# Checksums


@pytest.mark.parametrize(
    ("size", "pieces"),
    [
        (0, {}),
        (1, {0: b"x"}),
        (3 * MIB + 5, {}),
        (3 * MIB, {0: b"x" * 10}),
        (5 * MIB + 7, {MIB - 3: b"across a chunk", 4 * MIB: b"y" * MIB}),
        (2 * MIB + 9, {2 * MIB: b"the end is"}),
        (MIB, {64 * KIB * at: b"z" * KIB for at in range(16)}),
    ],
)
def test_the_hash_is_that_of_the_whole_content(
    tmp_path: Path, size: int, pieces: dict[int, bytes]
) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        for at, data in pieces.items():
            file.seek(at)
            file.write(data)
        file.truncate(size)
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_maker_and_the_store_read_a_large_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"1")
    os.utime(path, (OLD, OLD))
    first = sha256_once(path)
    with monkeypatch.context() as patch:
        patch.setattr(checksum_module, "_hash", lambda *_: pytest.fail("read again"))
        assert sha256_once(path) == first
    path.write_bytes(b"2")
    assert sha256_once(path) == sha256(path) != first
