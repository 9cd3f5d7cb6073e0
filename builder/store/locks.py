# SPDX-License-Identifier: MIT
"""Locks between builds that run at the same time.

flock(2) locks die with their process, however it ends: a lock that can be taken belongs to
nobody, and what it guards may be cleaned up. So may its file: whoever has taken a lock looks
whether its file is still there, and only who has the lock removes it.
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
    """Hold the lock file `path`, waiting for it if another process has it.

    `on_wait` is called once if it has to wait; waiting ends with KeyboardInterrupt when
    `stopped` says so.
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
    """Try to hold the lock file `path`; the value says whether it worked."""
    descriptor = _take(path, shared=shared)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_free(folder: Path) -> None:
    """Remove the lock files in a directory that nobody holds."""
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
        # Removed, or even made anew, between our opening and locking it: holds nobody off.
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError:
        # Root's, who works for this caller in a container. (flock(2) asks for no more, but on NFS.)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _is_at(descriptor: int, path: Path) -> bool:
    """Say whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
