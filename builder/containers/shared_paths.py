# SPDX-License-Identifier: MIT
"""Files and directories that the builder's container sees, from which others get their mounts.

A path is followed from a descriptor that was opened before the container started, one name at a
time and without symbolic links, so that it cannot lead out of the directory that was agreed on.

Docker takes paths, not descriptors. Between the check and the start of the container, a program
that runs as the same user in the builder's container could still replace a directory by a symbolic
link. It would gain little: containers that the broker starts have no capabilities and run as the
caller, so they see only what the caller may read on this machine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from builder.containers.containers import Mount
from builder.errors import StepError

_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class SharedPaths:
    """The mounts of the builder's container. Use it as a context manager, or close it."""

    def __init__(self, mounts: Sequence[Mount]) -> None:
        self._opened: list[tuple[Mount, int]] = []
        # The longest target first: of two mounts that hold a path, it is in the inner one.
        for mount in sorted(mounts, key=lambda each: len(each.target.parts), reverse=True):
            with suppress(OSError):  # Docker refuses to start the builder's container
                self._opened.append((mount, os.open(mount.source, _FLAGS)))

    def close(self) -> None:
        """Close the descriptors."""
        while self._opened:
            os.close(self._opened.pop()[1])

    def __enter__(self) -> SharedPaths:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def resolve(self, path: Path, *, read_only: bool = True) -> Path:
        """Return the path on this machine of a file or directory in the builder's container.

        Raises:
            StepError: it is in no mount, or in none with write access; it contains a symbolic link;
                it is neither a file nor a directory.
        """
        for mount, descriptor in self._opened:
            if path.is_relative_to(mount.target) and (read_only or not mount.read_only):
                return _resolve(path, path.relative_to(mount.target).parts, descriptor)
        access = "" if read_only else " with write access"
        raise StepError(f"{path} is not shared with the builder's container{access}")


def _resolve(path: Path, parts: Sequence[str], root: int) -> Path:
    descriptor = os.dup(root)
    try:
        for part in parts:
            outer, descriptor = descriptor, os.open(part, _FLAGS, dir_fd=descriptor)
            os.close(outer)
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISLNK(kind):
            raise StepError(f"{path} is a symbolic link, and cannot be mounted")
        if not (stat.S_ISDIR(kind) or stat.S_ISREG(kind)):
            raise StepError(f"{path} is neither a file nor a directory, and cannot be mounted")
        return Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115 - no file
    except OSError as error:  # ENOTDIR where a symbolic link is in the middle
        raise StepError(f"{path} cannot be mounted: {error.strerror}") from error
    finally:
        os.close(descriptor)
