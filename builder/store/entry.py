# SPDX-License-Identifier: MIT
"""Entries of the store: a step's output with its description and its hash tree."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from builder.store.checksum import FileState, state
from builder.store.files import sync_tree, tree_size, write_for_all
from builder.store.records import Unreadable, read_record
from builder.store.tree import (
    Found,
    difference,
    hash_of,
    listed,
    made_tree,
    settled_states,
    text_of,
    tree_in,
    wait_for_tick,
)

DESCRIPTION = "entry.json"
_TREE = "tree.json"
_VERIFIED = "verified.json"


class _Description(BaseModel):
    """Content of entry.json; `tree` is the hash of the hash tree, empty from earlier versions."""

    step: str
    seconds: float
    size: int
    built: datetime
    components: dict[str, str]
    tree: str = ""


class _Verified(BaseModel):
    """Content of verified.json: the hash of the tree, and the states of the files by path."""

    tree: str
    states: dict[str, FileState]


_DESCRIPTIONS = TypeAdapter(_Description)
_VERIFICATIONS = TypeAdapter(_Verified)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A cached output.

    Attributes:
        key: the step's key.
        step: the step's name.
        path: the entry's directory.
        seconds: the wall time of the step.
        size: disk usage in bytes.
        ended: when the step ended, in seconds since 1970.
        tree_hash: a hash over all files (see builder.store.tree).
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
        """Return a number that is derived from the output, from a note beside it or by `find`."""
        note = self.path / f"known-{what}"
        try:
            return int(note.read_text())
        except (FileNotFoundError, ValueError):  # a crash may have emptied it
            number = find(self.files)
            write_for_all(note, str(number))
            return number


def read_entry(path: Path) -> Entry:
    """Return the entry in a directory.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: its description is damaged.
    """
    found = read_record(path / DESCRIPTION, _DESCRIPTIONS)
    return Entry(
        key=path.name,
        step=found.step,
        path=path,
        seconds=found.seconds,
        size=found.size,
        ended=found.built.timestamp(),
        tree_hash=found.tree,
    )


@dataclass(frozen=True)
class Described:
    """State of a draft's files when its hash tree was made, at a time in ns since 1970."""

    found: Found
    at: int

    def note_verified(self, entry: Entry) -> None:
        """Record that the files of the entry, which was the draft, match its hash tree."""
        _write_verified(entry, settled_states(self.found, self.at))


def describe(draft: Path, *, step: str, components: Mapping[str, str], seconds: float) -> Described:
    """Write the hash tree and the description of a draft, and wait until it is on the disk."""
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
    (draft / DESCRIPTION).write_text(description.model_dump_json(indent=1))
    # After a power cut, a renamed entry must not have empty files.
    sync_tree(draft)
    return Described(found, at)


def damage(entry: Entry, *, fully: bool) -> str | None:
    """Return how an entry's files differ from its hash tree; None if they match.

    Files that have not changed since their last verification are not read, unless `fully`.

    Raises:
        PermissionError: another user owns files.
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
        _write_verified(entry, settled_states(found, at))
    return problem


def _verified_states(entry: Entry) -> dict[str, FileState]:
    """Return the states in which an entry's files were verified, by path."""
    try:
        verified = read_record(entry.path / _VERIFIED, _VERIFICATIONS)
    except (FileNotFoundError, Unreadable):
        return {}
    return verified.states if verified.tree == entry.tree_hash else {}


def _write_verified(entry: Entry, states: dict[str, FileState]) -> None:
    note = {"tree": entry.tree_hash, "states": states}
    write_for_all(entry.path / _VERIFIED, json.dumps(note))
