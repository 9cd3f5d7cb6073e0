# SPDX-License-Identifier: MIT
"""Locks between builds that run at the same time.

flock(2) locks die with their process, however it ends: a lock that can be taken belongs to
nobody, and what it guards may be cleaned up.
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
    descriptor = _open(path)
    waiting = False
    try:
        while not _take(descriptor, shared=shared):
            if on_wait and not waiting:
                on_wait()
            waiting = True
            if stopped():
                raise KeyboardInterrupt
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def try_locked(path: Path, *, shared: bool = False) -> Iterator[bool]:
    """Try to hold the lock file `path`; the value says whether it worked."""
    descriptor = _open(path)
    try:
        yield _take(descriptor, shared=shared)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _take(descriptor: int, *, shared: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
