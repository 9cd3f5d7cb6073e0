# SPDX-License-Identifier: MIT
"""Scratch directories of the store, and removal of data that no process uses."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from builder.store.entry import DESCRIPTION, Entry, read_entry
from builder.store.files import remove_tree, tree_size
from builder.store.layout import Layout
from builder.store.locks import locked, remove_free, try_locked
from builder.store.records import Unreadable

_MAX_OUTPUTS = 20_000
"""Maximum number of hashes of outputs, of 64 bytes each: years of builds."""


@contextmanager
def scratch_directory(layout: Layout, name: str) -> Iterator[Path]:
    """Provide a new directory that is removed at the end."""
    path = layout.scratch / f"{name}-{secrets.token_hex(4)}"
    lock = layout.lock(path.name)
    with locked(lock):
        path.mkdir()
        try:
            yield path
        finally:
            remove_tree(path)
            lock.unlink(missing_ok=True)


def remove_abandoned(layout: Layout) -> None:
    """Remove drafts and scratch directories whose process has ended, and all free locks."""
    for folder in (layout.drafts, layout.scratch):
        for path in folder.iterdir():
            with try_locked(layout.lock(path.name)) as free:
                if free:
                    remove_tree(path)
    remove_free(layout.locks)


def remove_entry(layout: Layout, key: str) -> None:
    """Remove an entry if it exists; no other process may be using it."""
    # Rename it first, so that a killed process does not leave half an entry.
    with scratch_directory(layout, "removed") as aside, suppress(FileNotFoundError):
        (layout.entries / key).rename(aside / key)


def keys(layout: Layout) -> list[str]:
    """Return the keys of all entries, including damaged ones."""
    return sorted(path.name for path in layout.entries.iterdir())


def readable_entries(layout: Layout) -> list[Entry]:
    """Return all readable entries, the least recently used first."""
    found: list[tuple[float, Entry]] = []
    for key in keys(layout):
        with suppress(FileNotFoundError, Unreadable):
            entry = read_entry(layout.entries / key)
            found.append(((entry.path / DESCRIPTION).stat().st_mtime, entry))
    return [entry for _, entry in sorted(found, key=lambda item: item[0])]


def evict(layout: Layout, limit: int) -> list[Entry]:
    """Remove the least recently used entries until at most `limit` bytes are left; return them.

    Replaced package indexes, old hashes of outputs and unreadable entries are removed too. The
    size of the compiler cache, which has a limit of its own, counts.
    """
    _remove_replaced_indexes(layout)
    _remove_old_outputs(layout)
    gone: list[Entry] = []
    entries = readable_entries(layout)
    for key in {*keys(layout)} - {entry.key for entry in entries}:
        remove_entry(layout, key)
    total = sum(entry.size for entry in entries) + tree_size(layout.compiler_cache)
    for entry in entries:
        if total <= limit:
            break
        remove_entry(layout, entry.key)
        total -= entry.size
        gone.append(entry)
    return gone


def _remove_replaced_indexes(layout: Layout) -> None:
    """Remove the sets of package indexes that have no link."""
    # A process that holds the lock may be fetching a set, which has no link yet.
    with try_locked(layout.lock("archives")) as free:
        if free:
            links = [path for path in layout.archives.glob("*") if path.is_symlink()]
            linked = {path.resolve().parent for path in links}
            for path in (layout.archives / "sets").glob("*"):
                if path.resolve() not in linked:
                    remove_tree(path)


def _remove_old_outputs(layout: Layout) -> None:
    """Remove the oldest hashes of outputs if there are too many."""
    paths = [*layout.outputs.iterdir()]
    if len(paths) > _MAX_OUTPUTS:
        paths.sort(key=lambda path: path.stat().st_mtime)
        for path in paths[: -_MAX_OUTPUTS // 2]:
            path.unlink()
