# SPDX-License-Identifier: MIT
"""Hash trees: sorted lists of all files in a directory, for the detection of damage.

Owners and times are not recorded, since stores are copied and passed on to other users.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from builder.store.checksum import FileState, sha256, sha256_once, state

Sum = TypeVar("Sum", bound=str | None)

_TICK = 20_000_000
"""Nanoseconds: the kernel's clock for file times is no finer than 10 ms (CONFIG_HZ)."""
_LARGE = 1 << 20
"""Size in bytes above which hashing takes longer than waiting for a tick."""

Found = Mapping[str, os.stat_result]
"""Status of all files in a directory, by path; the directory itself is the empty path."""


class Member(NamedTuple):
    """A file, directory or link of a hash tree.

    Attributes:
        mode: the mode with the kind of file, as in stat(2).
        size: of a regular file, in bytes; else 0.
        content: the SHA-256 of a regular file, or the target of a link. None if the file could not
            be read because another user owns it.
    """

    mode: int
    size: int
    content: str | None


Tree = Mapping[str, Member]


def listed(directory: Path) -> dict[str, os.stat_result]:
    """Return the status of all files in a directory, by path.

    Raises:
        OSError: it cannot be listed.
    """
    found = {"": directory.lstat()}
    above = len(f"{directory}/")
    for folder, folders, files in os.walk(directory, onerror=_raised):
        for name in (*folders, *files):
            path = f"{folder}/{name}"  # tens of thousands of files: Path is too slow
            found[path[above:]] = os.lstat(path)
    return found


def made_tree(directory: Path, found: Found) -> Tree:
    """Return the hash tree of a directory that has just been filled with the files `found`.

    Raises:
        OSError: something in it cannot be read.
    """
    names = [name for name, status in found.items() if _is_file(status)]
    checksums = _checksums(directory, found, names, _readable)
    return {
        name: _member(directory / name, found[name], checksums.get(name)) for name in sorted(found)
    }


def text_of(tree: Tree) -> str:
    """Return a hash tree as text: JSON with one line per path."""
    lines = (json.dumps([name, *member]) for name, member in sorted(tree.items()))
    return "[\n" + ",\n".join(lines) + "\n]\n"


def tree_in(text: str) -> Tree:
    """Parse the text of a hash tree, as `text_of` writes it."""
    return {name: Member(*member) for name, *member in json.loads(text)}


def hash_of(text: str) -> str:
    """Return the hash of a hash tree's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def difference(
    directory: Path, tree: Tree, found: Found, known: Mapping[str, FileState]
) -> str | None:
    """Return how a directory's content differs from its hash tree; None if it does not.

    Files whose state equals that in `known` are not read.

    Raises:
        OSError: something cannot be read.
    """
    for name in sorted({*tree, *found}):
        problem = _problem(directory / name, tree.get(name), found.get(name))
        if problem:
            return f"{_shown(directory, name)} {problem}"
    unknown = [
        name
        for name, status in found.items()
        if tree[name].content and _is_file(status) and known.get(name) != state(status)
    ]
    for name, checksum in sorted(_checksums(directory, found, unknown, sha256).items()):
        if checksum != tree[name].content:
            return f"{_shown(directory, name)} has other content"
    return None


def settled_states(found: Found, at: int) -> dict[str, FileState]:
    """Return the states of the files that had not changed for a tick at a time (ns since 1970).

    A change within the same tick of the clock would not show in the state.
    """
    return {
        name: state(status) for name, status in found.items() if at - status.st_ctime_ns >= _TICK
    }


def wait_for_tick(found: Found) -> None:
    """Wait for a tick if a large file has just been written, so that its state is conclusive."""
    now = time.time_ns()
    if any(
        status.st_size >= _LARGE and now - status.st_ctime_ns < _TICK for status in found.values()
    ):
        time.sleep(_TICK / 1e9)


def _raised(error: OSError) -> None:
    raise error


def _shown(directory: Path, name: str) -> str:
    return f"{directory.name}/{name}" if name else directory.name


def _is_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)


def _member(path: Path, status: os.stat_result, checksum: str | None) -> Member:
    is_file = _is_file(status)
    return Member(
        mode=status.st_mode,
        size=status.st_size if is_file else 0,
        content=checksum if is_file else _target(path, status),
    )


def _target(path: Path, status: os.stat_result) -> str | None:
    return str(path.readlink()) if stat.S_ISLNK(status.st_mode) else None


def _problem(path: Path, wanted: Member | None, status: os.stat_result | None) -> str | None:
    """Return what is wrong with a path, as far as this shows without reading files."""
    if status is None:
        return "is missing"
    if wanted is None:
        return "does not belong there"
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(wanted.mode):
        return "is another kind of file"
    if status.st_mode != wanted.mode:
        modes = (stat.S_IMODE(mode) for mode in (status.st_mode, wanted.mode))
        return "has mode {:o}, not {:o}".format(*modes)
    if _is_file(status) and status.st_size != wanted.size:
        return f"has {status.st_size} bytes, not {wanted.size}"
    if _target(path, status) != (None if _is_file(status) else wanted.content):
        return "leads elsewhere"
    return None


def _readable(path: Path, _: Callable[[], bool]) -> str | None:
    try:
        return sha256_once(path)
    except PermissionError:
        return None


def _checksums(
    directory: Path,
    found: Found,
    names: Sequence[str],
    read: Callable[[Path, Callable[[], bool]], Sum],
) -> dict[str, Sum]:
    """Hash files of a directory, the large ones in parallel."""
    stop = threading.Event()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            large = {
                name: pool.submit(read, directory / name, stop.is_set)
                for name in names
                if found[name].st_size >= _LARGE
            }
            small = {
                name: read(directory / name, stop.is_set) for name in names if name not in large
            }
            return {**small, **{name: future.result() for name, future in large.items()}}
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
