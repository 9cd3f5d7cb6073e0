# SPDX-License-Identifier: MIT
"""The board that is measured, and stores and steps for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.measure import say
from builder.archive.archive import ArchiveUnavailable
from builder.archive.choice import choose, native_archive
from builder.archive.emulator import emulator_archive
from builder.cli.context import ROOT, default_store
from builder.emulation.qemu import qemu_source
from builder.machine.emulator import Qemu, found_qemu
from builder.plan.board import BoardSteps, board_steps
from builder.plan.plan import make_plan
from builder.spec.distributions import named_distribution
from builder.spec.reader import Tree
from builder.spec.resolve import resolve
from builder.steps.qemu import PROGRAMS, QemuPrograms
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


def qemu_of_tests() -> Qemu:
    """Return the QEMU that boot tests use: the one that the last of them got, or the machine's own."""
    store, source = Store(default_store()), qemu_source()
    named = partial(named_distribution, Tree(root=ROOT))
    try:
        archive = emulator_archive(source, store, named=named, offline=True)
    except ArchiveUnavailable:
        return found_qemu()
    (planned,) = make_plan([QemuPrograms(archive, source)], store)
    entry = store.get(planned.key)
    return found_qemu(entry.files / PROGRAMS if entry else None)
