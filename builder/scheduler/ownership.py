# SPDX-License-Identifier: MIT
"""Owner of files that a builder with root's rights creates: the user who called it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def give_to_caller(path: Path) -> None:
    """Make the user who called sudo the owner of a directory and its files, if root owns them."""
    if "SUDO_UID" in os.environ and os.geteuid() == 0:
        change_owner(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))


def change_owner(path: Path, user: int, group: int) -> None:
    """Change the owner of a file, or of a directory and all files in it, where it is root.

    Another process may remove files meanwhile: missing ones are skipped.
    """
    change_owner_of_one(path, user, group)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            change_owner_of_one(Path(folder, name), user, group)


def change_owner_of_one(path: Path, user: int, group: int) -> None:
    """Change the owner of a file or directory, but not of files in it, if the owner is root."""
    with suppress(FileNotFoundError):
        if path.lstat().st_uid == 0 != user:
            os.chown(path, user, group, follow_symlinks=False)
