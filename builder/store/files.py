# SPDX-License-Identifier: MIT
"""Files on disk: atomic and durable writes, removal, and sizes of directories."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from pathlib import Path

from builder.store.locks import locked, try_locked

_FRESH = ".new"
_MAX_SINGLE_SYNCS = 50
"""Most files that are synced one by one. For more, a sync of everything is faster: one fsync(2)
waits for all data that any process has pending anyway."""


def write_atomically(path: Path, text: str, *, durably: bool = False) -> None:
    """Write a file so that a reader sees either the old text or the new one, also after a crash.

    Files that a killed process left beside it are removed.

    Args:
        path: the file.
        text: its new content.
        durably: whether to wait for the disk, so that the same holds after a power cut.
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


def write_for_all(path: Path, text: str) -> None:
    """Write a file that every user may read."""
    write_atomically(path, text)
    path.chmod(0o644)


def remove_tree(path: Path) -> None:
    """Remove a directory with its content, a file or a link, if it exists."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def tree_size(path: Path) -> int:
    """Return the disk usage of a directory in bytes."""
    return sum(file.lstat().st_blocks * 512 for file in path.rglob("*"))


def sync_tree(directory: Path) -> None:
    """Wait until a directory and its content are on the disk."""
    paths = [directory, *directory.rglob("*")]
    if len(paths) > _MAX_SINGLE_SYNCS:
        os.sync()
        return
    for path in paths:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except PermissionError:  # the file of another user of one of our namespaces
            os.sync()
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
