# SPDX-License-Identifier: MIT
"""The measured board with its stores, steps and builds."""

from __future__ import annotations

import argparse
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
    """Print an event of the selection of archives."""
    say(event.text if isinstance(event, Note) else str(event))


def new_store(root: Path) -> Store:
    """Return a store without entries that shares package indexes and downloads with the user's."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "archives").exists():
        (root / "archives").symlink_to(default_store() / "archives")
    return Store(root)


def build(tree: Path, place: Path, title: str, board: str, *words: str | Path) -> Cost:
    """Build a board with the `build.py` of the checkout `tree` into `place`/output; return the cost.

    Raises:
        StepError: The build failed; the details are the end of its log.
    """
    say(title)
    return cost_of(
        [
            *(tree / ".venv/bin/python", tree / "build.py", "--board", board),
            *("--output", place / "output", "--progress", "plain", "--engine", "host", *words),
        ],
        log=place / f"{title.replace(' ', '-')}.log",
    )


def steps_of(tree: Path, store: Store) -> BoardSteps:
    """Return the board's steps as `build.py` in the checkout `tree` plans them."""
    spec = resolve(SpecTree(root=tree), BOARD)
    archive = select_distribution(
        spec.distributions, spec.architecture, store, listener=say_event, unusable=spec.unusable
    )
    return board_steps(spec, archive, native=native_archive(archive, store, listener=say_event))


def qemu_of_tests() -> Qemu:
    """Return the QEMU of boot tests: the cached one, or the host's if none is cached."""
    store = Store(default_store())
    words = argparse.Namespace(update=False, offline=True)
    planned = emulator_plan(words, SpecTree(root=ROOT), store, say_event)
    entry = store.get(planned.key) if planned and planned.key else None
    return found_qemu(entry.files / PROGRAMS if entry else None)
