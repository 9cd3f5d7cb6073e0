# SPDX-License-Identifier: MIT
"""Damage in the store: files of entries with flipped bytes, or cut."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

from tests.torture.figures import Figures
from tests.torture.ground import EXPENSIVE, VARIANTS, Ground

_MOST_DAMAGE = 3
_SPARED = ("linux-source", "kernel", "u-boot-source", "native-programs")
"""Steps that would take too long to make again, or the network."""
_TOLD = "damaged in the store"
"""What the plan gives as the reason for a step whose entry is damaged."""


def run(ground: Ground, figures: Figures) -> None:
    """Damage entries, and see what the next build makes of it."""
    ground.reset()
    for each in figures.each():
        variant = each.choice([*VARIANTS])
        ground.spoil(each)
        harm = [_harm(ground, each) for _ in range(each.randint(1, _MOST_DAMAGE))]
        ended = ground.start(variant, "--offline").ended()
        verdict = ground.verdict(ended, variant)
        told = _TOLD in ended.said
        figures.count(f"{verdict}, {'told' if told else 'not noticed'}")
        if verdict != "right image":
            figures.wrong("; ".join(harm), [f"{verdict}: {ended.end}"])
        # What this build did not read is still damaged, or was made of what is.
        for key in ground.entries.damaged():
            figures.count("damaged entries that stayed")
            shutil.rmtree(ground.store / "entries" / key)
        if verdict != "right image":
            ground.remove(*_upper(ground))
        figures.wrong("; ".join(harm), ground.honest(variant, "--offline"))


def _upper(ground: Ground) -> set[str]:
    return {step for step in ground.steps().values() if step not in EXPENSIVE}


def _harm(ground: Ground, random: random.Random) -> str:
    """Damage a file of an entry; say which."""
    steps = ground.steps()
    path = random.choice([path for path, step in steps.items() if step not in _SPARED])
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not file.is_symlink() and file.stat().st_size
    )
    file = random.choice(files)
    kind = random.choice(("flipped", "cut"))
    damage(file, kind, random)
    return f"{steps[path]}: {file.relative_to(path)} {kind}"


def damage(file: Path, kind: str, random: random.Random) -> None:
    """Flip a bit of a file, or cut it; its times may stay as they were."""
    status = file.stat()
    if kind == "cut":
        os.truncate(file, random.randrange(status.st_size))
    else:
        with file.open("r+b") as opened:
            place = random.randrange(status.st_size)
            opened.seek(place)
            byte = opened.read(1)[0]
            opened.seek(place)
            opened.write(bytes([byte ^ (1 << random.randrange(8))]))
    if random.random() < 0.5:  # as a bad disk does it
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
