# SPDX-License-Identifier: MIT
"""SIGKILL at random moments: nothing is left, and the next build goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.torture.figures import Figures
from tests.torture.ground import VARIANTS, Build, Ground
from tests.torture.traces import descendants

WHOM = {"builder": 60, "group": 15, "child": 25}
"""Who is killed, with weights: the builder, its process group, or one of its descendants."""

MOMENTS = {"any": 70, "draft": 8, "entry": 8, "publishing": 14}
"""When: at any time of the build, or just after an event, where a kill hurts most."""

_DEEP = 0.05
_POLL = 0.001
_AFTER_EVENT = 0.05


def run(ground: Ground, figures: Figures) -> None:
    """Kill builds."""
    ground.reset()
    for each in figures.each():
        seconds = ground.spoil(each, deep=_DEEP)
        variant = each.choice([*VARIANTS])
        (whom,) = each.choices([*WHOM], [*WHOM.values()])
        (moment,) = each.choices([*MOMENTS], [*MOMENTS.values()])
        build = ground.start(variant, "--offline")
        hit = _strike(build, ground, each, whom=whom, moment=moment, seconds=seconds)
        ended = build.ended()
        how = f"{whom} killed, moment {moment}, variant {variant}"
        figures.count(f"{whom} killed" if hit else "ended before the kill")
        if whom == "child" or not hit:
            verdict = ground.verdict(ended, variant)
            figures.count(f"{verdict} after a child's death" if hit else verdict)
            if verdict not in ("right image", "error told"):
                figures.wrong(how, [f"{verdict}: {ended.end}"])
        figures.wrong(how, ground.problems())
    for variant in VARIANTS:
        figures.wrong(f"at the end, variant {variant}", ground.honest(variant, "--offline"))


def _strike(
    build: Build,
    ground: Ground,
    random: random.Random,
    *,
    whom: str,
    moment: str,
    seconds: float,
) -> bool:
    """Kill somebody at some moment; return whether the build was still running."""
    if moment == "any":
        _wait(build, lambda: False, random.uniform(0, seconds))
    else:
        before = _look(moment, ground)
        _wait(build, lambda: _look(moment, ground) != before, 20 * seconds)
        _wait(build, lambda: False, random.uniform(0, _AFTER_EVENT))
    if whom == "child":
        _wait(build, lambda: bool(descendants(build.process.pid)), seconds)
    if not build.running:
        return False
    with suppress(ProcessLookupError):
        if whom == "group":
            os.killpg(build.process.pid, signal.SIGKILL)
        elif whom == "builder":
            os.kill(build.process.pid, signal.SIGKILL)
        elif others := sorted(descendants(build.process.pid)):
            os.kill(random.choice(others), signal.SIGKILL)
        else:
            return False
        return True
    return False


def _look(moment: str, ground: Ground) -> object:
    """Return what changes when an event happens."""
    if moment == "publishing":
        return _names(ground.output / ground.board)
    return _names(ground.store / ("drafts" if moment == "draft" else "entries"))


def _names(folder: Path) -> list[tuple[str, int]]:
    with suppress(FileNotFoundError):
        return sorted((each.name, each.inode()) for each in os.scandir(folder))
    return []


def _wait(build: Build, come: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while build.running and time.monotonic() < end and not come():
        time.sleep(_POLL)
