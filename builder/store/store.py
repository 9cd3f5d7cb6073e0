# SPDX-License-Identifier: MIT
"""The content-addressed store.

Layout under its root:

    entries/<key>/entry.json     what made it: step, components of its fingerprint, time; and the
                                 hash of tree.json
    entries/<key>/files/         the step's output; never changed once it is there
    entries/<key>/tree.json      the hash tree of that (see builder.store.tree)
    entries/<key>/verified.json  states of the files when they were last found to be as in the tree
    entries/<key>/known-<what>   a number that was found out about the files
    drafts/<key>/                an entry being written; renamed into entries/ when whole
    scratch/<name>/              room for a step's work, empty on disk when it is a tmpfs
    outputs/<key>                the hash of an entry's tree, known also when the entry is gone
    last/<scope>/<step>.json     components of the step's last fingerprint, to say what changed
    archives/                    package indexes (see builder.apt)
    ccache/                      compiled objects (see builder.sandbox.compiler_cache)
    digests/                     checksums of the user's large files (see builder.store.digests)
    petalinux/<installer>/       what bitbake keeps (see builder.bsp.petalinux)
    locks/                       one lock file an entry, scratch directory or archive
"""

from __future__ import annotations

import glob
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from builder.store.checksum import FileState, state
from builder.store.digests import Read, digest
from builder.store.locks import locked, remove_free, try_locked
from builder.store.records import Unreadable, read_record
from builder.store.tree import (
    difference,
    hash_of,
    listed,
    made_tree,
    settled_states,
    text_of,
    tree_in,
    wait_for_tick,
)

_SECRET_BYTES = 32
_FRESH = ".new"
_DESCRIPTION = "entry.json"
_TREE = "tree.json"
_VERIFIED = "verified.json"
_MADE = ("entries", "drafts", "scratch", "outputs", "last", "archives", "digests")
_OTHERS = ("ccache", "locks", "petalinux", "secret", "secret.new")
_MOST_OUTPUTS = 20_000
"""Hashes of outputs that are kept, of 64 bytes each: years of builds."""
_CLOSED = ("entries", "drafts", "scratch", "archives", "petalinux")
"""Directories with files that not everybody may read, such as hashes of passwords."""
_FEW = 50
"""More files than this are not written to the disk one by one: that takes longer than writing all
that any process has pending, which is what a sync of everything waits for."""


class _Description(BaseModel):
    """Content of entry.json; `tree` is the hash of the hash tree, which earlier versions did not make."""

    step: str
    seconds: float
    size: int
    built: datetime
    components: dict[str, str]
    tree: str = ""


class _Verified(BaseModel):
    """Content of verified.json: the hash of the tree, and the states of the files by their paths."""

    tree: str
    states: dict[str, FileState]


_DESCRIPTIONS = TypeAdapter(_Description)
_VERIFICATIONS = TypeAdapter(_Verified)
_COMPONENTS = TypeAdapter(dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A kept output.

    `seconds` is the wall time that it took, `ended` when it was done, in seconds since 1970; `size`
    is its bytes on disk. `tree_hash` stands for all of its files: see builder.store.tree.
    """

    key: str
    step: str
    path: Path
    seconds: float
    size: int
    ended: float = 0.0
    tree_hash: str = ""

    @property
    def files(self) -> Path:
        """The directory with the step's output."""
        return self.path / "files"

    def known(self, what: str, find: Callable[[Path], int]) -> int:
        """Return a number that follows from the output: as noted beside it, or found out now."""
        note = self.path / f"known-{what}"
        try:
            return int(note.read_text())
        except (FileNotFoundError, ValueError):  # a crash may have emptied it
            number = find(self.files)
            _write_for_all(note, str(number))
            return number


class Store:
    """The store at `root`; several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._make()

    def get(self, key: str) -> Entry | None:
        """Return the entry for `key`, if it is kept, and mark it as used now.

        Whether its files are as they were made, `damage` says.
        """
        path = self._entry(key)
        try:
            entry = _read(path)
            os.utime(path / _DESCRIPTION)  # eviction takes the least recently used
        except (FileNotFoundError, Unreadable):
            return None
        return entry

    def damage(self, key: str, *, fully: bool = False) -> str | None:
        """Say in a few words how the entry for `key` is damaged; None if it is not, or not there.

        Files that have not changed since they were last verified are not read again, unless
        `fully`.
        """
        try:
            return _damage(_read(self._entry(key)), fully=fully)
        except FileNotFoundError:
            return None
        except Unreadable as error:
            return str(error)

    def drop(self, key: str) -> bool:
        """Remove the entry for `key`, which is damaged; return False if somebody is at work on it."""
        with try_locked(self._lock(key)) as free:
            if free:
                self._remove_entry(key)
        return free

    @contextmanager
    def building(
        self,
        key: str,
        *,
        on_wait: Callable[[], None] | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[None]:
        """Hold the right to write the entry for `key`; another build of it waits here."""
        with locked(self._lock(key), on_wait=on_wait, stopped=stopped):
            yield

    def draft(self, key: str) -> Path:
        """Return an empty directory for the entry's files; needs `building`."""
        path = self.root / "drafts" / key
        remove_tree(path)
        files = path / "files"
        files.mkdir(parents=True)
        return files

    def commit(
        self, key: str, *, step: str, components: Mapping[str, str], seconds: float
    ) -> Entry:
        """Make the draft for `key` an entry, in one rename; needs `building`.

        An entry that is there, which must be damaged, makes room.
        """
        draft = self.root / "drafts" / key
        size = tree_size(draft)
        found = listed(draft / "files")
        wait_for_tick(found)
        at = time.time_ns()
        text = text_of(made_tree(draft / "files", found))
        (draft / _TREE).write_text(text)
        description = _Description(
            step=step,
            seconds=round(seconds, 2),
            size=size,
            built=datetime.now(timezone.utc),
            components=dict(components),
            tree=hash_of(text),
        )
        (draft / _DESCRIPTION).write_text(description.model_dump_json(indent=1))
        # A power cut must not leave a renamed entry with empty files.
        _settle(draft)
        self._remove_entry(key)
        draft.rename(self._entry(key))
        entry = _read(self._entry(key))
        _note_verified(entry, settled_states(found, at))
        write_atomically(self._output(key), entry.tree_hash)
        return entry

    @property
    def compiler_cache(self) -> Path:
        """The directory of the compiler cache; it may not be there."""
        return self.root / "ccache"

    def content(self, key: str) -> str | None:
        """Return what stands for the files of the entry for `key`; None if it was never made.

        It is known of entries that have been evicted, too.
        """
        try:
            return self._output(key).read_text() or None
        except FileNotFoundError:
            return None

    def discard(self, key: str) -> None:
        """Remove the draft for `key`; needs `building`."""
        remove_tree(self.root / "drafts" / key)

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """Give a directory of its own that is removed at the end."""
        path = self.root / "scratch" / f"{name}-{secrets.token_hex(4)}"
        lock = self._lock(path.name)
        with locked(lock):
            path.mkdir()
            try:
                yield path
            finally:
                remove_tree(path)
                lock.unlink(missing_ok=True)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep other processes from evicting entries, and clean up after those that died."""
        with locked(self._lock("in-use"), shared=True):
            self._make()  # somebody may have emptied it since it was opened
            self._clean()
            yield

    def sweep(self) -> None:
        """Remove what processes that died have left: drafts, scratch directories, free locks."""
        with self.in_use():
            pass

    @contextmanager
    def unattended(self) -> Iterator[list[Path]]:
        """Give the paths of all that no process is at work in, and keep it so.

        Drafts and scratch directories are left out while somebody works in them, and so are the two
        directories that hold them: others may come meanwhile. Nothing is evicted.
        """
        working = [self.root / "drafts", self.root / "scratch"]
        with ExitStack() as held:
            held.enter_context(locked(self._lock("in-use"), shared=True))
            left = [
                path
                for folder in working
                for path in sorted(folder.iterdir())
                if held.enter_context(try_locked(self._lock(path.name)))
            ]
            others = [path for path in sorted(self.root.iterdir()) if path not in working]
            yield [*left, *others]

    def last(self, scope: str, step: str) -> dict[str, str] | None:
        """Return the components of the last fingerprint that a step was built with.

        Raises:
            Unreadable: they were noted, and the note is damaged.
        """
        try:
            return read_record(self._last(scope, step), _COMPONENTS)
        except FileNotFoundError:
            return None

    def remember(self, scope: str, step: str, components: Mapping[str, str]) -> None:
        """Note the components of a step's fingerprint for `last`."""
        path = self._last(scope, step)
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps(dict(components), indent=1), durably=True)

    def digest(self, path: Path, read: Read) -> str:
        """Return a file's checksum as `read` finds it, which reads it only if it may have changed.

        Raises:
            OSError: it cannot be read.
        """
        return digest(self.root / "digests", path, read, _write_for_all)

    def secret(self) -> bytes:
        """Return 32 random bytes that belong to this store.

        Salts of password hashes come from it: the same build gives the same image, and nobody
        who lacks the store can work out hashes ahead of time.
        """
        path = self.root / "secret"
        with locked(self._lock("secret")):
            if not path.exists() or path.stat().st_size != _SECRET_BYTES:
                fresh = path.with_suffix(".new")
                fresh.touch(mode=0o600)
                fresh.write_bytes(secrets.token_bytes(_SECRET_BYTES))
                fresh.replace(path)
            return path.read_bytes()

    def entries(self) -> list[Entry]:
        """Return all entries that can be used, the least recently used first."""
        found: list[tuple[float, Entry]] = []
        for key in self.keys():
            with suppress(FileNotFoundError, Unreadable):
                entry = _read(self._entry(key))
                found.append(((entry.path / _DESCRIPTION).stat().st_mtime, entry))
        return [entry for _, entry in sorted(found, key=lambda item: item[0])]

    def keys(self) -> list[str]:
        """Return the keys of all entries, of those too that are damaged."""
        return sorted(path.name for path in (self.root / "entries").iterdir())

    def evict(self, limit: int) -> list[Entry]:
        """Remove the least recently used entries until at most `limit` bytes are left.

        The compiler cache counts too; it has a limit of its own.
        Package indexes that were replaced go too, and entries that cannot be read. Does nothing
        while another process uses the store.
        """
        gone: list[Entry] = []
        with try_locked(self._lock("in-use")) as alone:
            if alone:
                self._drop_replaced_indexes()
                self._drop_old_outputs()
                entries = self.entries()
                for key in {*self.keys()} - {entry.key for entry in entries}:
                    self._remove_entry(key)
                total = sum(entry.size for entry in entries) + tree_size(self.compiler_cache)
                for entry in entries:
                    if total <= limit:
                        break
                    self._remove_entry(entry.key)
                    total -= entry.size
                    gone.append(entry)
        return gone

    def empty(self) -> bool:
        """Remove all that is kept; return False if another process uses the store."""
        with try_locked(self._lock("in-use")) as alone:
            if alone:
                for name in (*_MADE, "ccache", "petalinux"):
                    remove_tree(self.root / name)
        return alone

    def _make(self) -> None:
        """Make the directories that are not there, and keep other users out."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (*_MADE, "locks"):
            (self.root / name).mkdir(exist_ok=True)
        shared = self.root.stat().st_mode & stat.S_ISGID
        # In a directory that holds other things too, only those of the store are closed.
        alone = {path.name for path in self.root.iterdir()} <= {*_MADE, *_OTHERS}
        for place in [self.root] if alone else [self.root / name for name in _CLOSED]:
            _close(place, to_group=not shared)

    def _entry(self, key: str) -> Path:
        return self.root / "entries" / key

    def _remove_entry(self, key: str) -> None:
        """Remove an entry if there is one; nobody else may be at work on it."""
        # Out of sight at once, so that a killed process leaves no half entry.
        with self.scratch("removed") as aside, suppress(FileNotFoundError):
            self._entry(key).rename(aside / key)

    def _lock(self, name: str) -> Path:
        return self.root / "locks" / f"{name}.lock"

    def _output(self, key: str) -> Path:
        return self.root / "outputs" / key

    def _last(self, scope: str, step: str) -> Path:
        return self.root / "last" / scope / f"{step}.json"

    def _drop_replaced_indexes(self) -> None:
        """Remove the sets of package indexes to which no link leads."""
        archives = self.root / "archives"
        # Whoever holds it may be fetching a set, which has no link yet.
        with try_locked(self._lock("archives")) as free:
            if free:
                linked = {path.resolve().parent for path in archives.glob("*") if path.is_symlink()}
                for path in (archives / "sets").glob("*"):
                    if path.resolve() not in linked:
                        remove_tree(path)

    def _drop_old_outputs(self) -> None:
        """Remove the oldest hashes of outputs, if there are too many."""
        paths = [*(self.root / "outputs").iterdir()]
        if len(paths) > _MOST_OUTPUTS:
            paths.sort(key=lambda path: path.stat().st_mtime)
            for path in paths[: -_MOST_OUTPUTS // 2]:
                path.unlink()

    def _clean(self) -> None:
        """Remove drafts and scratch directories whose process is gone, and all free locks."""
        for folder in ("drafts", "scratch"):
            for path in (self.root / folder).iterdir():
                with try_locked(self._lock(path.name)) as free:
                    if free:
                        remove_tree(path)
        remove_free(self.root / "locks")


def _read(path: Path) -> Entry:
    """Return the entry in a directory.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: its description is damaged.
    """
    found = read_record(path / _DESCRIPTION, _DESCRIPTIONS)
    return Entry(
        key=path.name,
        step=found.step,
        path=path,
        seconds=found.seconds,
        size=found.size,
        ended=found.built.timestamp(),
        tree_hash=found.tree,
    )


def _damage(entry: Entry, *, fully: bool) -> str | None:
    """Say in a few words how an entry's files differ from its hash tree; None if they do not.

    Raises:
        PermissionError: files are another user's.
    """
    if not entry.tree_hash:
        return "it has no checksums, since an earlier version of the builder made it"
    known = {} if fully else _verified_states(entry)
    try:
        found = listed(entry.files)
        if known == {name: state(status) for name, status in found.items()}:
            return None
        at = time.time_ns()
        text = (entry.path / _TREE).read_text()
        if hash_of(text) != entry.tree_hash:
            return f"{_TREE} has changed"
        problem = difference(entry.files, tree_in(text), found, known)
    except FileNotFoundError as error:
        return f"{Path(error.filename).relative_to(entry.path)} is missing"
    except PermissionError:
        raise
    except (OSError, ValueError) as error:
        return f"it cannot be read: {error}"
    if problem is None:
        _note_verified(entry, settled_states(found, at))
    return problem


def _verified_states(entry: Entry) -> dict[str, FileState]:
    """Return the states in which an entry's files were verified, by their paths."""
    try:
        verified = read_record(entry.path / _VERIFIED, _VERIFICATIONS)
    except (FileNotFoundError, Unreadable):
        return {}
    return verified.states if verified.tree == entry.tree_hash else {}


def _note_verified(entry: Entry, states: dict[str, FileState]) -> None:
    note = {"tree": entry.tree_hash, "states": states}
    _write_for_all(entry.path / _VERIFIED, json.dumps(note))


def _close(place: Path, *, to_group: bool) -> None:
    """Take other users' rights to a directory, and those of its group, as far as it is ours."""
    refused = 0o077 if to_group else 0o007
    with suppress(FileNotFoundError, PermissionError):
        mode = stat.S_IMODE(place.stat().st_mode)
        if mode & refused:
            place.chmod(mode & ~refused)


def _settle(directory: Path) -> None:
    """Have all that a directory holds written to the disk."""
    paths = [directory, *directory.rglob("*")]
    if len(paths) > _FEW:
        os.sync()
        return
    for path in paths:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except PermissionError:  # it is another user's, of a namespace of ours
            os.sync()
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: Path, text: str, *, durably: bool = False) -> None:
    """Write a file so that a reader, or whoever comes after a crash, sees the old text or the new one.

    That holds for a power cut too if it is written `durably`, which waits for the disk. What a killed
    process left beside the file is removed.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{_FRESH}"):
        with try_locked(left) as free:
            if free:
                left.unlink(missing_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_FRESH}")
    with locked(fresh):
        try:
            fresh.chmod(0o600)
            with fresh.open("w") as file:
                file.write(text)
                if durably:
                    file.flush()
                    os.fsync(file.fileno())
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise


def _write_for_all(path: Path, text: str) -> None:
    """Write a file that everybody may read."""
    write_atomically(path, text)
    path.chmod(0o644)


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it; nothing happens if it is not there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def tree_size(path: Path) -> int:
    """Return the bytes on disk that a directory takes."""
    return sum(file.lstat().st_blocks * 512 for file in path.rglob("*"))
