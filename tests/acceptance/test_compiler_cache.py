# SPDX-License-Identifier: MIT
"""What is compiled is the same bits without the compiler cache, through an empty one and a full one.

Each is built in a store of its own, so that nothing depends on where that is either.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.archive.choice import choose
from builder.cli.context import default_store
from builder.engine.compiler_cache import CacheUse, CompilerCache
from builder.engine.process import Processes
from builder.plan.board import board_steps
from builder.plan.build import Build
from builder.plan.plan import make_plan
from builder.report.events import Event
from builder.spec.reader import Tree
from builder.spec.resolve import resolve
from builder.steps.step import Step
from builder.store.store import Store
from tests.support import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

WANTED = {"Pynq-Z2": ("kernel", "modules", "u-boot"), "ZCU111": ("trusted-firmware", "u-boot")}


@dataclass(frozen=True)
class Compiled:
    """Hashes of the outputs of compiled steps, and how they used the cache; by board and step."""

    outputs: dict[tuple[str, str], str]
    use: dict[tuple[str, str], CacheUse]


def show(event: Event) -> None:
    sys.stdout.write(f"{event}\n")


def wanted_steps() -> Iterator[tuple[tuple[str, str], Step]]:
    archives = Store(default_store())
    for board, names in WANTED.items():
        spec = resolve(Tree(root=ROOT), board)
        archive = choose(
            spec.distributions, spec.architecture, archives, listener=show, unusable=spec.unusable
        )
        plan = make_plan([board_steps(spec, archive).boot.boot_files], archives)
        steps = {item.step.name: item.step for item in plan}
        yield from (((board, name), steps[name]) for name in names)


def compiled(folder: Path, cache: Path | None) -> Compiled:
    """Build the steps in a new store."""
    logs = folder / "logs"
    logs.mkdir(parents=True)
    store = Store(folder / "store")
    steps = dict(wanted_steps())
    with store.in_use():
        outcome = Build(
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


def test_the_compiler_cache_changes_no_bit(tmp_path: Path) -> None:
    cache = tmp_path / "ccache"
    plain = compiled(tmp_path / "plain", None)
    first = compiled(tmp_path / "first", cache)
    again = compiled(tmp_path / "once-more-at-a-longer-path", cache)
    assert not plain.use
    assert plain.outputs == first.outputs
    assert plain.outputs == again.outputs
    shares = {which: use.hits / use.compilations for which, use in again.use.items()}
    assert shares.keys() == plain.outputs.keys()
    assert min(shares.values()) > 0.95, shares
