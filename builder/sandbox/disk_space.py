# SPDX-License-Identifier: MIT
"""Errors about full disks: which disk, its free space, and what to do."""

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
"""Bytes of free space with which a disk is not the one that a command found full."""

_HINT = (
    "make room, for example with `build.py clean` (--store-too removes the store as well), or move "
    "the store and the output to another disk with --store and --output"
)


@contextmanager
def full_disk_told(*places: Path) -> Iterator[None]:
    """Replace an error that a full disk caused with one that names the disk.

    `places` are the directories that the context writes to. Their free space is determined here,
    because a clean-up further out would free some.

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
    """Return an error that names the full disk, if one caused `error`; otherwise None."""
    if isinstance(error, HostError):
        return None
    details = error.details if isinstance(error, BuildError) else (str(error),)
    text = "\n".join((str(error), *details))
    found = next((reason for reason in _REASONS if reason in text), None)
    if found is None:
        return None
    place = _where(error, places)
    if found == _FULL and isinstance(error, BuildError) and _free(place) > _LITTLE:
        return None  # the command may have written elsewhere, such as to a tmpfs
    return HostError(f"{place}: {_REASONS[found]}, {_room(place)}", hint=_HINT, details=details)


def _where(error: BaseException, places: Sequence[Path]) -> Path:
    """Return the directory that could not be written to, else the one with the least space."""
    name = error.filename if isinstance(error, OSError) else None
    if isinstance(name, str) and Path(name).parent.is_dir():
        return Path(name).parent
    temporary = Path(os.environ.get("TMPDIR", "/tmp"))
    existing = [path for path in (*places, temporary) if path.is_dir()]
    return min(existing, key=_free, default=Path("/"))


def _free(place: Path) -> int:
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize if _has_inodes(status) else 0


def _has_inodes(status: os.statvfs_result) -> bool:
    return status.f_files == 0 or status.f_favail > 0


def _room(place: Path) -> str:
    status = os.statvfs(place)
    free = size(status.f_bavail * status.f_frsize)
    return f"{free} are free" if _has_inodes(status) else f"{free} but no inodes are free"
