# SPDX-License-Identifier: MIT
"""The store: a cache of step outputs by key, shared by several processes.

Keys are hashes over a step's inputs (see builder.plan.step_key). builder.store.layout describes the
files.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from pydantic import TypeAdapter

from builder.store import cleanup
from builder.store.digests import Read, digest
from builder.store.entry import DESCRIPTION, Entry, damage, describe, read_entry
from builder.store.files import remove_tree, write_atomically, write_for_all
from builder.store.layout import CONTENT, Layout
from builder.store.locks import locked, try_locked
from builder.store.records import Unreadable, read_record

__all__ = ["Entry", "Store"]

_SECRET_BYTES = 32
_COMPONENTS = TypeAdapter(dict[str, str])


class Store:
    """The store at `root`; several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._layout = Layout(root)
        self._layout.create()

    def get(self, key: str) -> Entry | None:
        """Return the entry for `key` if it exists, and mark it as used now.

        Its files are not checked: see `damage`.
        """
        path = self._entry(key)
        try:
            entry = read_entry(path)
            os.utime(path / DESCRIPTION)  # eviction removes the least recently used entries
        except (FileNotFoundError, Unreadable):
            return None
        return entry

    def damage(self, key: str, *, fully: bool = False) -> str | None:
        """Return how the entry for `key` is damaged; None if it is intact or missing.

        Files that have not changed since their last verification are not read, unless `fully`.
        """
        try:
            return damage(read_entry(self._entry(key)), fully=fully)
        except FileNotFoundError:
            return None
        except Unreadable as error:
            return str(error)

    def drop(self, key: str) -> bool:
        """Remove the damaged entry for `key`; return False if another process is writing it."""
        with try_locked(self._layout.lock(key)) as free:
            if free:
                cleanup.remove_entry(self._layout, key)
        return free

    @contextmanager
    def building(
        self,
        key: str,
        *,
        on_wait: Callable[[], None] | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[None]:
        """Hold the lock for writing the entry for `key`, after any other process that holds it."""
        with locked(self._layout.lock(key), on_wait=on_wait, stopped=stopped):
            yield

    def draft(self, key: str) -> Path:
        """Return an empty directory for the entry's files; needs `building`."""
        path = self._layout.drafts / key
        remove_tree(path)
        files = path / "files"
        files.mkdir(parents=True)
        return files

    def commit(
        self, key: str, *, step: str, components: Mapping[str, str], seconds: float
    ) -> Entry:
        """Make the draft for `key` an entry, in one rename; needs `building`.

        An existing entry, which must be damaged, is replaced.
        """
        draft = self._layout.drafts / key
        described = describe(draft, step=step, components=components, seconds=seconds)
        cleanup.remove_entry(self._layout, key)
        draft.rename(self._entry(key))
        entry = read_entry(self._entry(key))
        described.note_verified(entry)
        write_atomically(self._layout.outputs / key, entry.tree_hash)
        return entry

    def discard(self, key: str) -> None:
        """Remove the draft for `key`; needs `building`."""
        remove_tree(self._layout.drafts / key)

    def content(self, key: str) -> str | None:
        """Return the hash of the output for `key`, also after eviction; None if never built."""
        try:
            return (self._layout.outputs / key).read_text() or None
        except FileNotFoundError:
            return None

    @property
    def compiler_cache(self) -> Path:
        """The directory of the compiler cache, which need not exist."""
        return self._layout.compiler_cache

    def scratch(self, name: str) -> AbstractContextManager[Path]:
        """Provide a new directory that is removed at the end."""
        return cleanup.scratch_directory(self._layout, name)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Prevent other processes from evicting entries; first clean up after dead processes."""
        with locked(self._layout.lock("in-use"), shared=True):
            self._layout.create()  # another process may have emptied it since it was opened
            cleanup.remove_abandoned(self._layout)
            yield

    def sweep(self) -> None:
        """Remove drafts, scratch directories and locks of dead processes."""
        with self.in_use():
            pass

    @contextmanager
    def unattended(self) -> Iterator[list[Path]]:
        """Provide all paths in which no process works, locked against use and eviction.

        Drafts and scratch directories in use are left out, and so are the two directories that
        contain them, since other processes may add more.
        """
        working = [self._layout.drafts, self._layout.scratch]
        with ExitStack() as held:
            held.enter_context(locked(self._layout.lock("in-use"), shared=True))
            left = [
                path
                for folder in working
                for path in sorted(folder.iterdir())
                if held.enter_context(try_locked(self._layout.lock(path.name)))
            ]
            others = [path for path in sorted(self.root.iterdir()) if path not in working]
            yield [*left, *others]

    def last(self, scope: str, step: str) -> dict[str, str] | None:
        """Return the components of the last key that a step was built with; None if unknown.

        Raises:
            Unreadable: the record is damaged.
        """
        try:
            return read_record(self._layout.last(scope, step), _COMPONENTS)
        except FileNotFoundError:
            return None

    def remember(self, scope: str, step: str, components: Mapping[str, str]) -> None:
        """Record the components of a step's key for `last`."""
        path = self._layout.last(scope, step)
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps(dict(components), indent=1), durably=True)

    def digest(self, path: Path, read: Read) -> str:
        """Return a file's checksum, by calling `read` only if the file may have changed.

        Raises:
            OSError: it cannot be read.
        """
        return digest(self.root / "digests", path, read, write_for_all)

    def secret(self) -> bytes:
        """Return 32 random bytes that belong to this store.

        Salts of password hashes are derived from them: the same build gives the same image, and
        without the store, nobody can compute hashes ahead of time.
        """
        path = self.root / "secret"
        with locked(self._layout.lock("secret")):
            if not path.exists() or path.stat().st_size != _SECRET_BYTES:
                fresh = path.with_suffix(".new")
                fresh.touch(mode=0o600)
                fresh.write_bytes(secrets.token_bytes(_SECRET_BYTES))
                fresh.replace(path)
            return path.read_bytes()

    def entries(self) -> list[Entry]:
        """Return all readable entries, the least recently used first."""
        return cleanup.readable_entries(self._layout)

    def keys(self) -> list[str]:
        """Return the keys of all entries, including damaged ones."""
        return cleanup.keys(self._layout)

    def evict(self, limit: int) -> list[Entry]:
        """Remove the least recently used entries until at most `limit` bytes are left; return them.

        Replaced package indexes and unreadable entries are removed too. The size of the compiler
        cache, which has a limit of its own, counts. Does nothing while another process uses the
        store.
        """
        with try_locked(self._layout.lock("in-use")) as alone:
            return cleanup.evict(self._layout, limit) if alone else []

    def empty(self) -> bool:
        """Remove all content; return False if another process uses the store."""
        with try_locked(self._layout.lock("in-use")) as alone:
            if alone:
                for name in CONTENT:
                    remove_tree(self.root / name)
        return alone

    def _entry(self, key: str) -> Path:
        return self._layout.entries / key
