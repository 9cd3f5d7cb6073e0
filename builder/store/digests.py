# SPDX-License-Identifier: MIT
"""Cached checksums of the user's large files.

A file counts as unchanged as long as it is the same inode with the same size and times. Programs
can set the time of modification, but not that of the inode's change (ctime). Clocks of file systems
are coarse, though: a change shortly after reading may leave the same time. So a checksum is
recorded only if the file had not changed for a while when it was read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from os import stat_result
from pathlib import Path

Read = Callable[[Path], str]
"""Returns the SHA-256 of a file's content."""

_COARSEST = 2_000_000_000
"""Smallest difference, in nanoseconds, between times on every file system: FAT has 2 s."""

_LARGE = 1 << 20
"""Size in bytes above which reading a file takes longer than looking up a record."""


def digest(folder: Path, path: Path, read: Read, write: Callable[[Path, str], None]) -> str:
    """Return a file's checksum, from a record in `folder` or by calling `read`.

    Args:
        folder: the directory of the records.
        path: the file.
        read: returns the checksum of the file's content.
        write: writes a record.

    Raises:
        OSError: the file cannot be read.
    """
    before = path.stat()
    if before.st_size < _LARGE:
        return read(path)
    note = folder / f"{before.st_dev}-{before.st_ino}.json"
    known = _read_note(note)
    if known.get("state") == _state(before) and "digest" in known:
        return str(known["digest"])
    now = time.time_ns()
    found = read(path)
    if _state(path.stat()) == _state(before) and now - before.st_ctime_ns >= _COARSEST:
        write(note, json.dumps({"state": _state(before), "digest": found}))
    return found


def _state(status: stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _read_note(note: Path) -> dict[str, object]:
    try:
        known = json.loads(note.read_text())
    except (FileNotFoundError, ValueError, RecursionError):  # a crash may have emptied it
        return {}
    return known if isinstance(known, dict) else {}
