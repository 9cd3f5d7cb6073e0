# SPDX-License-Identifier: MIT
"""Gives the caller what a worker that was killed has left in the store and the output.

Started as a program with root's power, in a container: `STORE OUTPUT USER GROUP`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from builder.scheduler.ownership import give, give_alone
from builder.store.store import Store


def reclaim(store: Store, output: Path, user: int, group: int) -> None:
    """Make somebody the owner of what is root's, but not of what a living builder works at.

    Files of root's in there may be those of a root filesystem, whose owners go into an image.
    """
    for folder in (store.root, *store.root.iterdir()):
        give_alone(folder, user, group)
    with store.unattended() as paths:
        for path in paths:
            give(path, user, group)
    give(output, user, group)


def main(words: list[str]) -> None:
    """Do it for the words of a command line."""
    store, output, user, group = words
    reclaim(Store(Path(store)), Path(output), int(user), int(group))


if __name__ == "__main__":
    main(sys.argv[1:])
