# SPDX-License-Identifier: MIT
"""Giving files that a builder with root's power leaves to the user who called it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def give_to_caller(path: Path) -> None:
    """Make the user who called sudo the owner of what root left in a directory, and of that."""
    if "SUDO_UID" in os.environ and os.geteuid() == 0:
        give(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))


def give(path: Path, user: int, group: int) -> None:
    """Make somebody the owner of a file or a directory and all in it, as far as it is root's.

    Others may be at work there: what is gone meanwhile is passed over.
    """
    give_alone(path, user, group)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            give_alone(Path(folder, name), user, group)


def give_alone(path: Path, user: int, group: int) -> None:
    """Make somebody the owner of a file or a directory, if it is root's, and of nothing in it."""
    with suppress(FileNotFoundError):
        if path.lstat().st_uid == 0 != user:
            os.chown(path, user, group, follow_symlinks=False)
