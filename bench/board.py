# SPDX-License-Identifier: MIT
"""The board that is measured, and stores and steps for it."""

from __future__ import annotations

from pathlib import Path

from bench.measure import Cost, cost_of, say
from builder.apt.distribution_selection import native_archive, select_distribution
from builder.boot_test.emulator import Qemu, found_qemu
from builder.boot_test.emulator_step import PROGRAMS
from builder.cli.context import ROOT, default_store
from builder.cli.emulator import emulator_plan
from builder.plan.board_steps import BoardSteps, board_steps
from builder.report.events import Event, Note
from builder.spec.reader import SpecTree
from builder.spec.resolve import resolve
from builder.store.store import Store

BOARD = "Pynq-Z2"


def say_event(event: Event) -> None:
    """Show an event of the choice of archives."""
    say(event.text if isinstance(event, Note) else str(event))


def new_store(root: Path) -> Store:
    """Return an empty store that has the indexes and downloads of the user's."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "archives").exists():
        (root / "archives").symlink_to(default_store() / "archives")
    return Store(root)


def build(tree: Path, place: Path, what: str, board: str, *words: str | Path) -> Cost:
    """Run the `build.py` of the checkout `tree` for a board, into `place`/output; say what it cost.

    Raises:
        StepError: it failed; the end of its log is with it.
    """
    say(what)
    return cost_of(
        [
            *(tree / ".venv/bin/python", tree / "build.py", "--board", board),
            *("--output", place / "output", "--progress", "plain", "--engine", "host", *words),
        ],
        log=place / f"{what.replace(' ', '-')}.log",
    )


def steps_of(tree: Path, store: Store) -> BoardSteps:
    """Return the board's steps, as `build.py` in the checkout `tree` would plan them."""
    spec = resolve(SpecTree(root=tree), BOARD)
    archive = select_distribution(
        spec.distributions, spec.architecture, store, listener=say_event, unusable=spec.unusable
    )
    return board_steps(spec, archive, native=native_archive(archive, store, listener=say_event))


def qemu_of_tests() -> Qemu:
    """Return the QEMU that boot tests use: the one that the last of them got, or the machine's own."""
    store = Store(default_store())
    planned = emulator_plan(SpecTree(root=ROOT), store, say_event, update=False, offline=True)
    entry = store.get(planned.key) if planned and planned.key else None
    return found_qemu(entry.files / PROGRAMS if entry else None)
