# SPDX-License-Identifier: MIT
"""SHA-256 of large, sparse files."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

_CHUNK = 1 << 20

FileState = tuple[int, int, int, int]
"""A file's inode, size, and times of its last modification and change in nanoseconds.

Programs can set the time of modification, but not that of the inode's change (ctime).
"""


def state(status: os.stat_result) -> FileState:
    """Return the state of a file, which differs after any change of it."""
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def sha256(path: Path, stopped: Callable[[], bool] = lambda: False) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal; holes count as zeros.

    Raises:
    KeyboardInterrupt: `stopped` returned true.
        OSError: the file cannot be read.
    """
    try:
        return _hash(path, stopped)
    except OSError as error:
        error.filename = error.filename or str(path)  # OSError of read(2) has no file name
        raise


def _hash(path: Path, stopped: Callable[[], bool]) -> str:
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size < _CHUNK:
            return hashlib.sha256(file.read()).hexdigest()
        digest, at = hashlib.sha256(), 0
        zeros, buffer = bytes(_CHUNK), bytearray(_CHUNK)
        view = memoryview(buffer)
        while at < size:
            data = _seek(file.fileno(), at, os.SEEK_DATA, size)
            for start in range(at, data, _CHUNK):
                _check_stopped(stopped)
                digest.update(memoryview(zeros)[: min(_CHUNK, data - start)])
            at = _seek(file.fileno(), data, os.SEEK_HOLE, size) if data < size else size
            file.seek(data)
            left = at - data
            while left and (count := file.readinto(view[: min(_CHUNK, left)])):
                _check_stopped(stopped)
                digest.update(view[:count])
                left -= count
    return digest.hexdigest()


def sha256_once(path: Path) -> str:
    """Return the SHA-256 of a file, which this process reads only once while it is unchanged.

    For the step that writes a large file and needs its checksum, which the store needs too.
    """
    return _remembered(path, state(path.stat()))


@lru_cache(maxsize=16)
def _remembered(path: Path, _: FileState) -> str:
    return sha256(path)


def _check_stopped(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise KeyboardInterrupt


def _seek(descriptor: int, offset: int, whence: int, size: int) -> int:
    """Return where the next data or hole begins; `size` if there is none."""
    try:
        return os.lseek(descriptor, offset, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise
