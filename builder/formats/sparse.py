# SPDX-License-Identifier: MIT
"""Continuous writing of large files to disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from builder.errors import StepError

_PERIOD = 0.1
"""Seconds between two syncs."""


@contextmanager
def written_meanwhile(path: Path) -> Iterator[None]:
    """Sync a file to disk while others write to it, instead of everything at the end.

    Linux holds back up to a tenth of the memory before it starts writing by itself
    (dirty_background_ratio), and a step that needs the file on disk would have to wait for that.

    Raises:
        StepError: the file could not be written. The kernel reports this once, to the first caller.
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
