# SPDX-License-Identifier: MIT
"""Locks between builds that run at the same time.

flock(2) locks end with their process, even if it is killed. A lock that can be taken is free, so
its directory may be cleaned up, and its file removed. Therefore a process that has taken a lock
checks that its file still exists, and only the process that holds the lock removes the file.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.2


@contextmanager
def locked(
    path: Path,
    *,
    shared: bool = False,
    on_wait: Callable[[], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Hold the lock file `path`, waiting while another process holds it.

    Args:
        path: the lock file.
        shared: whether other processes may hold the lock too, if they share it.
        on_wait: called once if the lock is not free.
        stopped: polled while waiting; true ends the wait.

    Raises:
        KeyboardInterrupt: `stopped` returned true.
    """
    waiting = False
    while (descriptor := _take(path, shared=shared)) is None:
        if on_wait and not waiting:
            on_wait()
        waiting = True
        if stopped():
            raise KeyboardInterrupt
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def try_locked(path: Path, *, shared: bool = False) -> Iterator[bool]:
    """Try to hold the lock file `path`; the value is whether this succeeded."""
    descriptor = _take(path, shared=shared)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_free(folder: Path) -> None:
    """Remove the lock files in a directory that no process holds."""
    for path in folder.glob("*.lock"):
        with try_locked(path) as free:
            if free:
                path.unlink()


def _take(path: Path, *, shared: bool) -> int | None:
    """Return a descriptor that holds the lock; None if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_at(descriptor, path):
            return descriptor
        # Removed, or removed and created again, between open(2) and flock(2): not the current lock.
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError:
        # Root's, from a container. flock(2) needs no write access, except on NFS.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
