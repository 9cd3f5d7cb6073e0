# SPDX-License-Identifier: MIT
"""The store: no partial entry is ever visible, even with killed and concurrent processes."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builder.store.files import remove_tree, tree_size, write_atomically
from builder.store.locks import locked, remove_free, try_locked
from builder.store.store import Entry, Store
from tests.fixtures.product import ROOT

MIB = 1 << 20


@contextmanager
def child(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in another process, and wait for its first line of output."""
    program = f"import sys, time\nfrom pathlib import Path\nsys.path.insert(0, {str(ROOT)!r})\n"
    program += "from builder.store.store import Store\nfrom builder.store.locks import locked\n"
    process = subprocess.Popen(
        [sys.executable, "-c", program + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdin
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()


def add(store: Store, key: str, *, size: int = 0, used: float | None = None) -> Entry:
    with store.building(key):
        files = store.draft(key)
        (files / "data").write_bytes(os.urandom(size))
        entry = store.commit(key, step=f"step-{key}", components={"setting x": key}, seconds=1.234)
    if used is not None:
        os.utime(entry.path / "entry.json", (used, used))
    return entry


def test_what_was_committed_is_found(store: Store) -> None:
    made = add(store, "k", size=10)
    found = store.get("k")
    assert found is not None
    assert (found.key, found.step, found.path) == ("k", "step-k", made.path)
    assert found.size == made.size
    assert (found.files / "data").stat().st_size == 10
    description = json.loads((found.path / "entry.json").read_text())
    assert description["components"] == {"setting x": "k"}
    assert description["seconds"] == 1.23
    assert not list((store.root / "drafts").iterdir())


def test_what_is_found_out_about_an_entry_is_noted_beside_it(store: Store) -> None:
    made, asked = add(store, "k", size=10), []

    def find(files: Path) -> int:
        asked.append(files)
        return (files / "data").stat().st_size

    assert [made.known("bytes", find), made.known("bytes", find)] == [10, 10]
    found = store.get("k")
    assert found
    assert found.known("bytes", find) == 10
    assert asked == [made.files]
    assert [path.name for path in made.files.iterdir()] == ["data"]
    note = made.path / "known-bytes"
    assert stat.S_IMODE(note.stat().st_mode) == 0o644
    note.write_text("")
    assert made.known("bytes", find) == 10
    assert made.known("other", lambda _: 3) == 3
    assert len(asked) == 2


def test_what_was_not_committed_is_not_found(store: Store) -> None:
    assert store.get("k") is None
    with store.building("k"):
        (store.draft("k") / "data").write_text("x")
        assert store.get("k") is None
        store.discard("k")
    assert store.get("k") is None
    assert not list((store.root / "drafts").iterdir())


def test_a_draft_begins_empty(store: Store) -> None:
    with store.building("k"):
        (store.draft("k") / "old").write_text("x")
        assert list(store.draft("k").iterdir()) == []


def test_a_store_is_found_again_by_another_process(store: Store) -> None:
    add(store, "k")
    assert Store(store.root).get("k") is not None


@pytest.mark.parametrize("moment", ["write_text", "rename"])
def test_a_crash_before_the_rename_leaves_nothing_visible(
    store: Store, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*arguments: object, **options: object) -> None:
        raise OSError("no space left")

    with store.building("k"):
        store.draft("k")
        with monkeypatch.context() as patch:
            patch.setattr(Path, moment, crash)
            with pytest.raises(OSError, match="no space left"):
                store.commit("k", step="s", components={}, seconds=0)
        assert store.get("k") is None
        assert store.entries() == []
    with store.in_use():
        assert not list((store.root / "drafts").iterdir())
    add(store, "k")
    assert store.get("k") is not None


@pytest.mark.parametrize("more", [0, 60])
def test_an_entry_is_on_the_disk_before_it_can_be_seen(
    store: Store, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few files are synced one by one, many with a sync of everything."""
    synced: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noting(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def renamed(path: Path, to: Path) -> Path:
        synced.append("renamed")
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(os, "sync", lambda: synced.append("all"))
    monkeypatch.setattr(Path, "rename", renamed)
    with store.building("k"):
        draft = store.draft("k")
        (draft / "file").write_text("x")
        (draft / "link").symlink_to("file")
        for number in range(more):
            (draft / str(number)).touch()
        store.commit("k", step="s", components={}, seconds=0)
    wanted = {"all"} if more else {"k", "files", "file", "entry.json", "tree.json"}
    assert {*synced[: synced.index("renamed")]} == wanted


KILLED = """
store = Store(Path(sys.argv[1]))
with store.in_use(), store.building("k"), store.scratch("work") as scratch:
    (store.draft("k") / "half").write_text("x")
    (scratch / "half").write_text("x")
    print("ready", flush=True)
    time.sleep(60)
"""


def leftovers(store: Store) -> list[str]:
    found = [*(store.root / "drafts").iterdir(), *(store.root / "scratch").iterdir()]
    return sorted(path.name.split("-")[0] for path in found)


def locks(store: Store) -> list[str]:
    found = (store.root / "locks").iterdir()
    return sorted(path.stem.split("-")[0] for path in found)


def test_only_what_dead_processes_left_is_cleaned_up(store: Store) -> None:
    with child(KILLED, store.root) as process:
        with store.in_use():
            assert leftovers(store) == ["k", "work"], "its owner is alive"
            assert locks(store) == ["in", "k", "work"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert leftovers(store) == ["k", "work"]
        with store.in_use():
            assert leftovers(store) == []
            assert locks(store) == ["in"], "of in-use"
    assert store.get("k") is None


def test_what_a_living_process_works_at_is_attended(store: Store) -> None:
    with child(KILLED, store.root):
        (store.root / "scratch/left").mkdir()
        with store.unattended() as paths:
            names = {str(path.relative_to(store.root)) for path in paths}
            made = ("CACHEDIR.TAG", "archives", "digests", "entries", "last", "locks", "outputs")
            assert names == {"scratch/left", *made}
            with try_locked(store.root / "locks/left.lock") as free:
                assert not free, "nobody begins to work there meanwhile"


def test_scratch_is_gone_afterwards_whatever_happens(store: Store) -> None:
    def work() -> None:
        with store.scratch("work") as path:
            assert path.parent == store.root / "scratch"
            assert path.name.startswith("work-")
            (path / "file").write_text("x")
            with store.scratch("work") as other:
                assert other != path
            raise LookupError

    with pytest.raises(LookupError):
        work()
    assert leftovers(store) == []
    assert not list((store.root / "locks").glob("work-*"))


HOLDER = """
with locked(Path(sys.argv[1]), shared=sys.argv[2] == "shared"):
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_the_second_process_waits_for_a_lock_and_says_so(tmp_path: Path) -> None:
    lock = tmp_path / "locks/x.lock"
    waited = threading.Event()
    with child(HOLDER, lock, "alone") as process:
        assert process.stdin

        def release() -> None:
            waited.wait(10)
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()

        thread = threading.Thread(target=release)
        thread.start()
        with locked(lock, on_wait=waited.set):
            assert waited.is_set()
            assert process.wait(10) == 0
        thread.join()


@pytest.mark.parametrize(
    ("theirs", "ours", "free"),
    [
        ("alone", False, False),
        ("alone", True, False),
        ("shared", False, False),
        ("shared", True, True),
    ],
)
def test_shared_locks_go_together_others_do_not(
    tmp_path: Path, theirs: str, *, ours: bool, free: bool
) -> None:
    lock = tmp_path / "x.lock"
    with child(HOLDER, lock, theirs), try_locked(lock, shared=ours) as taken:
        assert taken is free
    with try_locked(lock) as taken:
        assert taken, "a dead process holds nothing"


@pytest.mark.parametrize("anew", [False, True])
def test_a_lock_file_that_is_removed_just_before_it_is_taken_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, anew: bool
) -> None:
    lock = tmp_path / "x.lock"
    take = fcntl.flock
    removed: list[Path] = []

    def flock(descriptor: int, how: int) -> None:
        if not removed:
            lock.unlink()
            removed.append(lock)
            if anew:
                lock.touch()
        take(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(lock):
        assert removed
        with try_locked(lock) as taken:
            assert not taken
        remove_free(tmp_path)
        assert lock.exists()
    remove_free(tmp_path)
    assert not lock.exists()


def test_waiting_ends_when_everything_is_stopped(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    stopped = threading.Event()
    with (
        child(HOLDER, lock, "alone"),
        pytest.raises(KeyboardInterrupt),
        locked(lock, on_wait=stopped.set, stopped=stopped.is_set),
    ):
        pytest.fail("the lock was taken")


def test_an_entry_is_made_by_one_process_at_a_time(store: Store) -> None:
    with child(HOLDER, store.root / "locks/k.lock", "alone"):
        stopped = threading.Event()
        with (
            pytest.raises(KeyboardInterrupt),
            store.building("k", on_wait=stopped.set, stopped=stopped.is_set),
        ):
            pytest.fail("two at once")
    with store.building("k"):
        pass


# Eviction


@pytest.mark.parametrize(
    ("limit", "left"),
    [(4 * MIB, "abc"), (3 * MIB, "bc"), (2 * MIB, "c"), (0, "")],
)
def test_the_least_recently_used_go_until_the_limit_is_kept(
    store: Store, limit: int, left: str
) -> None:
    for age, key in enumerate("cba"):
        add(store, key, size=MIB, used=time.time() - 1000 * (age + 1))
    gone = store.evict(limit)
    assert "".join(entry.key for entry in store.entries()) == left
    assert "".join(entry.key for entry in gone) == "abc".removesuffix(left)
    assert not list((store.root / "drafts").iterdir())


def test_getting_an_entry_counts_as_use(store: Store) -> None:
    for age, key in enumerate("ab"):
        add(store, key, used=time.time() - 1000 + age)
    store.get("a")
    assert [entry.key for entry in store.entries()] == ["b", "a"]


IN_USE = """
with Store(Path(sys.argv[1])).in_use():
    print("ready", flush=True)
    time.sleep(60)
"""


def test_nothing_is_evicted_while_another_process_uses_the_store(store: Store) -> None:
    add(store, "k")
    with child(IN_USE, store.root):
        assert store.evict(0) == []
        assert store.get("k") is not None
        with store.in_use():
            pass  # several may use it at once
    assert [entry.key for entry in store.evict(0)] == ["k"]
    assert store.get("k") is None


def test_the_compiler_cache_counts_as_part_of_the_store(store: Store) -> None:
    add(store, "k")
    store.compiler_cache.mkdir()
    assert store.evict(MIB) == []
    (store.compiler_cache / "object").write_bytes(b"x" * MIB)
    assert [entry.key for entry in store.evict(MIB)] == ["k"]
    assert store.empty()
    assert not store.compiler_cache.exists()


def test_hashes_of_outputs_stay_when_the_outputs_go(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {key: add(store, key).tree_hash for key in "abc"}
    assert store.evict(0)
    assert {key: store.content(key) for key in "abc"} == contents
    assert store.content("d") is None
    for age, key in enumerate("cba"):
        os.utime(store.root / "outputs" / key, (age, age))
    monkeypatch.setattr("builder.store.cleanup._MAX_OUTPUTS", 2)
    store.evict(0)
    assert [key for key in "abc" if store.content(key)] == ["a"], "the newest"


def test_indexes_that_were_replaced_go_with_eviction_and_others_stay(store: Store) -> None:
    archives = store.root / "archives"
    for name in ("old", "new"):
        (archives / f"sets/{name}/one-armhf").mkdir(parents=True)
    (archives / "one-armhf").symlink_to(archives / "sets/new/one-armhf")
    (archives / "packages/one-armhf").mkdir(parents=True)
    kept = {"new", "old"}
    with child(IN_USE, store.root):
        store.evict(MIB)
        assert {path.name for path in (archives / "sets").iterdir()} == kept, "may be read"
    with child(HOLDER, store.root / "locks/archives.lock", "alone"):
        store.evict(MIB)
        assert {path.name for path in (archives / "sets").iterdir()} == kept, "may be fetched"
    store.evict(MIB)
    assert {path.name for path in (archives / "sets").iterdir()} == {"new"}
    assert (archives / "one-armhf").is_dir()
    assert (archives / "packages/one-armhf").is_dir()


def test_emptying_takes_everything_but_the_secret(store: Store) -> None:
    add(store, "k")
    store.remember("board", "s", {})
    (store.root / "archives/one-armhf").mkdir()
    secret = store.secret()
    with child(IN_USE, store.root):
        assert not store.empty()
        assert store.get("k") is not None
    assert store.empty()
    again = Store(store.root)
    assert again.entries() == []
    assert again.last("board", "s") is None
    assert not list((store.root / "archives").iterdir())
    assert again.secret() == secret


# What is remembered


def test_the_last_components_of_a_step_are_remembered_by_scope(store: Store) -> None:
    assert store.last("board", "s") is None
    store.remember("board", "s", {"setting x": "1"})
    store.remember("other", "s", {"setting x": "2"})
    store.remember("board", "s", {"setting x": "3"})
    assert store.last("board", "s") == {"setting x": "3"}
    assert store.last("other", "s") == {"setting x": "2"}


def test_the_secret_is_random_stable_and_private(store: Store, tmp_path: Path) -> None:
    secret = store.secret()
    assert len(secret) == 32
    assert Store(store.root).secret() == secret
    assert Store(tmp_path / "other").secret() != secret
    assert stat.S_IMODE((store.root / "secret").stat().st_mode) == 0o600


def test_a_secret_that_was_cut_off_is_made_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*arguments: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        for name in ("write_bytes", "write_text", "replace"):
            patch.setattr(Path, name, crash)
        with pytest.raises(OSError, match="no space left"):
            store.secret()
    assert len(store.secret()) == 32


# Who may look into it


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_store_is_its_owners_alone(tmp_path: Path) -> None:
    root = tmp_path / "above/store"
    Store(root)
    assert mode(root) == 0o700
    assert mode(root.parent) != 0o700, "whose that is, is not the store's business"
    root.chmod(0o755)
    (root / "petalinux").mkdir()
    Store(root)
    assert mode(root) == 0o700, "one of an earlier version"


@pytest.mark.parametrize(("before", "after"), [(0o2775, 0o2770), (0o2750, 0o2750)])
def test_a_store_of_a_group_stays_open_to_it(tmp_path: Path, before: int, after: int) -> None:
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(before)
    Store(root)
    assert mode(root) == after


def test_a_directory_with_other_things_in_it_stays_open_but_for_what_is_the_stores(
    tmp_path: Path,
) -> None:
    root = tmp_path / "home"
    (root / "letters").mkdir(parents=True)
    root.chmod(0o755)
    Store(root)
    assert mode(root) == mode(root / "letters") == 0o755
    for name in ("entries", "drafts", "scratch", "archives"):
        assert mode(root / name) == 0o700


def test_a_store_of_another_user_stays_as_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, mode: int) -> None:
        raise PermissionError

    store.root.chmod(0o755)
    monkeypatch.setattr(Path, "chmod", refused)
    Store(store.root)
    assert mode(store.root) == 0o755


def test_a_store_that_was_emptied_after_it_was_opened_can_be_used(store: Store) -> None:
    assert Store(store.root).empty()
    with store.in_use():
        add(store, "k")
    assert store.get("k")


# Files


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with path.open() as before:
        write_atomically(path, "new")
        assert before.read() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_replaced_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "x"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


KILLED_WHILE_WRITING = """\
import os, pathlib, signal, sys
from builder.store.files import write_atomically
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(pathlib.Path(sys.argv[1]), "new")
"""


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "x[1]"
    path.write_text("old")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_WRITING, path], cwd=ROOT, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    (left,) = set(tmp_path.iterdir()) - {path}
    with locked(left):
        write_atomically(path, "by another process at the same time")
        assert left.exists()
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def make_file(path: Path) -> None:
    path.write_text("x")


def make_tree(path: Path) -> None:
    (path / "sub").mkdir(parents=True)
    (path / "sub/file").write_text("x")


@pytest.mark.parametrize("make", [make_file, make_tree, None])
def test_a_tree_is_removed_whatever_it_is(
    tmp_path: Path, make: Callable[[Path], None] | None
) -> None:
    path = tmp_path / "x"
    if make:
        make(path)
    remove_tree(path)
    assert not path.exists()


def test_removing_a_link_leaves_what_it_points_to(tmp_path: Path) -> None:
    make_tree(tmp_path / "there")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    remove_tree(tmp_path / "link")
    assert (tmp_path / "there/sub/file").exists()
    assert not (tmp_path / "link").is_symlink()


def test_holes_take_no_space(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(100 * MIB)
    assert tree_size(tmp_path) < MIB


def test_a_lock_that_belongs_to_root_is_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In containers, root writes into the caller's store."""
    path = tmp_path / "one.lock"
    path.touch()
    opened = os.open

    def refuse_to_write(name: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError
        return opened(name, flags, mode)

    monkeypatch.setattr("builder.store.locks.os.open", refuse_to_write)
    with try_locked(path) as mine:
        assert mine
        with try_locked(path) as again:
            assert not again
    remove_free(tmp_path)
    assert not path.exists()
