# SPDX-License-Identifier: MIT
"""Full disks: which one it is, how much is free on it, and what helps."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from builder.errors import BuildError, HostError
from builder.report.console import size

_FULL = os.strerror(errno.ENOSPC)
_REASONS = {
    _FULL: "no space is left",
    os.strerror(errno.EDQUOT): "the user's disk quota is used up",
}

_LITTLE = 64 << 20
"""Bytes: with more than that, a disk is not what a command found to be full."""

_HINT = (
    "make room, say by `build.py clean` (with --store-too the store goes too), or put store and output "
    "on another disk with --store and --output"
)


@contextmanager
def full_disk_told(*places: Path) -> Iterator[None]:
    """Turn a failure for lack of room on a disk into an error that says where.

    `places` are the directories that are written to meanwhile. They are looked at here: what is
    cleaned up first makes room.

    Raises:
        HostError: a disk is full, or the user's quota on it is used up.
    """
    try:
        yield
    except (OSError, BuildError) as error:
        problem = full_disk(error, places)
        if problem:
            raise problem from error
        raise


def full_disk(error: BaseException, places: Sequence[Path]) -> HostError | None:
    """Return the error that tells of a full disk, if that is why something failed; else None."""
    if isinstance(error, HostError):
        return None
    details = error.details if isinstance(error, BuildError) else (str(error),)
    said = "\n".join((str(error), *details))
    found = next((text for text in _REASONS if text in said), None)
    if found is None:
        return None
    place = _where(error, places)
    if found == _FULL and isinstance(error, BuildError) and _free(place) > _LITTLE:
        return None  # a command may work elsewhere, as in a filesystem in memory
    return HostError(f"{place}: {_REASONS[found]}, {_room(place)}", hint=_HINT, details=details)


def _where(error: BaseException, places: Sequence[Path]) -> Path:
    """Return the directory that could not be written to; without a name, the one with least room."""
    name = error.filename if isinstance(error, OSError) else None
    if isinstance(name, str) and Path(name).parent.is_dir():
        return Path(name).parent
    temporary = Path(os.environ.get("TMPDIR", "/tmp"))
    there = [path for path in (*places, temporary) if path.is_dir()]
    return min(there, key=_free, default=Path("/"))


def _free(place: Path) -> int:
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize if _has_inodes(status) else 0


def _has_inodes(status: os.statvfs_result) -> bool:
    return status.f_files == 0 or status.f_favail > 0


def _room(place: Path) -> str:
    status = os.statvfs(place)
    free = size(status.f_bavail * status.f_frsize)
    return f"{free} are free" if _has_inodes(status) else f"{free} but no inodes are free"
