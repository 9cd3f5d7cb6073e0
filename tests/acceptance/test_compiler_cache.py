# SPDX-License-Identifier: MIT
"""Compiled programs are the same bits with the compiler cache and without it.

Each is built in a store of its own, so that nothing depends on where that is either.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.apt.distribution_selection import select_distribution
from builder.cli.context import default_store
from builder.plan.board_steps import board_steps
from builder.plan.plan import make_plan
from builder.report.events import Event
from builder.sandbox.compiler_cache import CacheUse, CompilerCache
from builder.sandbox.process import Processes
from builder.scheduler.scheduler import Scheduler
from builder.spec.reader import SpecTree
from builder.spec.resolve import resolve
from builder.steps.step import Step
from builder.store.store import Store
from tests.fixtures.product import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

KERNEL = ("Pynq-Z2", "kernel")
WANTED = {"Pynq-Z2": ("kernel", "modules", "u-boot"), "ZCU111": ("trusted-firmware", "u-boot")}


@dataclass(frozen=True)
class Compiled:
    """Hashes of the outputs of compiled steps, and how they used the cache; by board and step."""

    outputs: dict[tuple[str, str], str]
    use: dict[tuple[str, str], CacheUse]


def show(event: Event) -> None:
    sys.stdout.write(f"{event}\n")


def wanted_steps(boards: Path) -> Iterator[tuple[tuple[str, str], Step]]:
    archives = Store(default_store())
    for board, names in WANTED.items():
        spec = resolve(SpecTree(root=ROOT, boards_dirs=(boards,)), board)
        archive = select_distribution(
            spec.distributions, spec.architecture, archives, listener=show, unusable=spec.unusable
        )
        plan = make_plan([board_steps(spec, archive).boot.boot_files], archives)
        steps = {item.step.name: item.step for item in plan}
        yield from (((board, name), steps[name]) for name in names)


def boards_with(folder: Path, option: str) -> Path:
    """Return a directory of boards, the same but for a line of kernel configuration of one of them."""
    for board in WANTED:
        shutil.copytree(ROOT / "boards" / board, folder / board)
    board_file = folder / "Pynq-Z2/board.yaml"
    bsp = "bsp:\n  kernel-fragments: [test.cfg]\n"
    board_file.write_text(board_file.read_text().replace("bsp:\n", bsp))
    (folder / "Pynq-Z2/test.cfg").write_text(f"{option}\n")
    return folder


def compiled(folder: Path, boards: Path, cache: Path | None) -> Compiled:
    """Build the steps in a new store."""
    logs = folder / "logs"
    logs.mkdir(parents=True)
    store = Store(folder / "store")
    steps = dict(wanted_steps(boards))
    with store.in_use():
        outcome = Scheduler(
            make_plan(steps.values(), store),
            store=store,
            logs=logs,
            listener=show,
            processes=Processes(),
            jobs=2,
            compiler_cache=CompilerCache(cache, limit=1 << 30) if cache else None,
        ).attempt()
    assert not outcome.failures
    return Compiled(
        outputs={which: outcome.entries[step].tree_hash for which, step in steps.items()},
        use={
            which: outcome.cache_use[step]
            for which, step in steps.items()
            if step in outcome.cache_use
        },
    )


def without_build_directories(cache: Path) -> Path:
    shutil.rmtree(cache / "trees")
    return cache


def test_the_compiler_cache_changes_no_bit(tmp_path: Path) -> None:
    cache = tmp_path / "ccache"
    before = boards_with(tmp_path / "before", "# CONFIG_PPS is not set")
    changed = boards_with(tmp_path / "changed", "CONFIG_PPS=y")
    plain = compiled(tmp_path / "plain", changed, None)
    assert not plain.use
    first = compiled(tmp_path / "first", before, cache)
    assert {which for which, output in first.outputs.items() if output != plain.outputs[which]} == {
        ("Pynq-Z2", "kernel"),
        ("Pynq-Z2", "modules"),
    }
    # make goes on where it was with the other option.
    again = compiled(tmp_path / "once-more-at-a-longer-path", changed, cache)
    assert again.outputs == plain.outputs
    assert again.use[KERNEL].compilations < first.use[KERNEL].compilations / 2
    # Every object is asked for, and comes from the cache.
    whole = compiled(tmp_path / "objects-alone", changed, without_build_directories(cache))
    assert whole.outputs == plain.outputs
    shares = {which: use.hits / use.compilations for which, use in whole.use.items()}
    assert shares.keys() == plain.outputs.keys()
    assert min(shares.values()) > 0.95, shares
