# SPDX-License-Identifier: MIT
"""Large files that go to the disk as they grow."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from builder.errors import StepError

_PERIOD = 0.1
"""Seconds between two writes to disk."""


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
