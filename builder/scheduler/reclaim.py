# SPDX-License-Identifier: MIT
"""Program that makes the caller the owner of files left in store and output by a killed worker.

It runs as root in a container, with the arguments `STORE OUTPUT USER GROUP`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from builder.scheduler.ownership import change_owner, change_owner_of_one
from builder.store.store import Store


def reclaim(store: Store, output: Path, user: int, group: int) -> None:
    """Change the owner of root's files, except for those that a running builder works on.

    The latter may be files of a root filesystem, whose owners go into an image.
    """
    for folder in (store.root, *store.root.iterdir()):
        change_owner_of_one(folder, user, group)
    with store.unattended() as paths:
        for path in paths:
            change_owner(path, user, group)
    change_owner(output, user, group)


def main(words: list[str]) -> None:
    """Run the program with the arguments of a command line."""
    store, output, user, group = words
    reclaim(Store(Path(store)), Path(output), int(user), int(group))


if __name__ == "__main__":
    main(sys.argv[1:])
