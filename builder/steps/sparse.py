# SPDX-License-Identifier: MIT
"""Large files with holes: hashed without reading the holes, written to disk as they grow."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from builder.errors import StepError

_CHUNK = 1 << 20
_PERIOD = 0.1
"""Seconds between two writes to disk."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal; its holes count as the zeros they are."""
    digest = hashlib.sha256()
    zeros, buffer = bytes(_CHUNK), bytearray(_CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        at, size = 0, os.fstat(file.fileno()).st_size
        while at < size:
            data = _seek(file.fileno(), at, os.SEEK_DATA, size)
            for start in range(at, data, _CHUNK):
                digest.update(memoryview(zeros)[: min(_CHUNK, data - start)])
            at = _seek(file.fileno(), data, os.SEEK_HOLE, size) if data < size else size
            file.seek(data)
            left = at - data
            while left and (count := file.readinto(view[: min(_CHUNK, left)])):
                digest.update(view[:count])
                left -= count
    return digest.hexdigest()


def _seek(descriptor: int, offset: int, whence: int, size: int) -> int:
    """Return where the next data or hole begins; the end of the file if there is none."""
    try:
        return os.lseek(descriptor, offset, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise


@contextmanager
def written_meanwhile(path: Path) -> Iterator[None]:
    """Have what others write to a file go to the disk meanwhile, not all of it at the end.

    Linux keeps up to a tenth of the memory back before it begins by itself (dirty_background_ratio),
    and who needs the file on disk then waits for all of that.

    Raises:
        StepError: it could not be written. The kernel tells that once, to whoever asks first.
    """
    done = threading.Event()

    def write() -> None:
        with path.open("rb") as file:
            while not done.wait(_PERIOD):
                os.fdatasync(file.fileno())
            os.fdatasync(file.fileno())

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            yield
        finally:
            done.set()
        try:
            writing.result()
        except OSError as error:
            raise StepError(f"{path} cannot be written: {error.strerror}") from error
