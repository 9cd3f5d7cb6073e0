# SPDX-License-Identifier: MIT
"""The board that is measured, and stores and steps for it."""

from __future__ import annotations

from pathlib import Path

from bench.measure import say
from builder.archive.choice import choose, native_archive
from builder.cli.context import default_store
from builder.plan.board import BoardSteps, board_steps
from builder.spec.reader import Tree
from builder.spec.resolve import resolve
from builder.store.store import Store

BOARD = "Pynq-Z2"


def say_event(event: object) -> None:
    """Show an event of the choice of archives."""
    say(str(event))


def new_store(root: Path) -> Store:
    """Return an empty store that has the indexes and downloads of the user's."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "archives").exists():
        (root / "archives").symlink_to(default_store() / "archives")
    return Store(root)


def steps_of(tree: Path, store: Store) -> BoardSteps:
    """Return the board's steps, as `build.py` in the checkout `tree` would plan them."""
    spec = resolve(Tree(root=tree), BOARD)
    archive = choose(
        spec.distributions, spec.architecture, store, listener=say_event, unusable=spec.unusable
    )
    return board_steps(spec, archive, native=native_archive(archive, store, listener=say_event))
