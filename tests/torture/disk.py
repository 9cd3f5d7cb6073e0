# SPDX-License-Identifier: MIT
"""A disk that is too small: the build says so, leaves nothing, and goes on once there is room."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.engine.host import available_memory
from tests.torture.figures import Figures, say
from tests.torture.ground import VARIANTS, Ground
from tests.torture.traces import rests

_SPARE = 3 << 30
"""Bytes of memory that builds need beside the disk, which is a tmpfs."""

_OUTPUT_THERE = 0.5
_SOURCES = ("linux-source", "u-boot-source", "trusted-firmware-source")


def run(ground: Ground, figures: Figures) -> None:
    """Build on disks that are too small. Needs mounts of its own: see `__main__`."""
    ground.reset()
    for each in figures.each():
        room = _used(ground.store) + _used(ground.output)
        if available_memory() < 2 * room + _SPARE:
            figures.wrong("not run", [f"{2 * room + _SPARE >> 30} GiB of free memory are needed"])
            return
        with _small(ground.store) as disk:
            _round(ground, figures, each, disk)


def _round(ground: Ground, figures: Figures, random: random.Random, disk: Path) -> None:
    ground.remove(*_SOURCES)  # what was made of them is kept
    whole = _used(disk) + _used(ground.output)
    ground.spoil(random)
    kept = _used(disk)
    limit = kept + int(random.uniform(0.002, 1) * (whole - kept))
    _resize(disk, limit)
    here = random.random() < _OUTPUT_THERE
    target = ground.publishing_to(disk / "output") if here else ground
    variant = random.choice([*VARIANTS])
    how = f"{limit >> 20} MiB, {kept >> 20} used, output {'there' if here else 'elsewhere'}"
    ended = target.start(variant, "--offline").ended()
    verdict = target.verdict(ended, variant)
    figures.count(verdict)
    if verdict not in ("right image", "error told"):
        figures.wrong(how, [f"{verdict}: {ended.end}"])
    figures.wrong(how, [*target.problems(), *rests(ground.store, target.output)])
    _resize(disk, 3 * whole)
    figures.wrong(f"{how}; enlarged", target.honest(variant, "--offline", rebuild=False))


@contextmanager
def _small(store: Path) -> Iterator[Path]:
    """Put a tmpfs where the store is, with a copy of it; give the tmpfs.

    Indexes of packages name their place, so it must be the same.
    """
    beneath = store.with_name(f"{store.name}.beneath")
    beneath.mkdir(exist_ok=True)
    _call("mount", "--bind", str(store), str(beneath))
    try:
        _call("mount", "-t", "tmpfs", "-o", "mode=0755,size=64g", "small", str(store))
        try:
            for path in beneath.iterdir():
                # Packages that are installed already need not be there.
                _call("cp", "-a", "--", str(path), str(store))
            shutil.rmtree(store / "archives/packages", ignore_errors=True)
            yield store
        finally:
            _call("umount", "--lazy", str(store))
    finally:
        _call("umount", "--lazy", str(beneath))
        beneath.rmdir()


def _resize(disk: Path, limit: int) -> None:
    _call("mount", "-o", f"remount,size={limit}", str(disk))


def _used(folder: Path) -> int:
    """Return the bytes that a directory takes on its disk."""
    if not folder.exists():
        return 0
    said = subprocess.run(
        ["du", "-sx", "--block-size=1", str(folder)], capture_output=True, text=True, check=True
    )
    return int(said.stdout.split()[0])


def _call(*words: str) -> None:
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    if said.returncode:
        say(f"{' '.join(words)}: {said.stderr.strip()}")
        said.check_returncode()
