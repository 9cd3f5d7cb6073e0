# SPDX-License-Identifier: MIT
"""Size, build time and boot time of the board's image for each profile."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from bench.board import BOARD, build, new_store
from bench.boot import reached
from bench.measure import Row
from builder.cli.context import ROOT
from builder.publish.output import Output
from builder.spec.reader import SpecTree
from builder.spec.resolve import resolve

_REFERENCE = "pynq"
_VARIANTS: dict[str, dict[str, object]] = {
    "minimal": {},
    _REFERENCE: {},
    "pynq-full": {"emulate": {"card": "8G"}},
}
"""Profiles, and other keys of board.yaml that an image with the profile needs."""


def run(place: Path, peers: bool) -> list[Row]:  # noqa: ARG001, FBT001 - the sections' one signature
    """Build the root filesystem of each profile in an empty store; then its image in the user's."""
    measured = {profile: _measured(place, profile) for profile in _VARIANTS}
    reference = measured[_REFERENCE]
    return [
        Row(
            what=f"{profile}: {what}",
            ours=ours,
            unit=unit,
            against=f"profile {_REFERENCE}",
            reference=reference[what, unit],
        )
        for profile, found in measured.items()
        for (what, unit), ours in found.items()
    ]


def _measured(place: Path, profile: str) -> dict[tuple[str, str], float]:
    """Return the values for a profile's image by title and unit."""
    name = f"{BOARD}-{profile}"
    board = place / "profiles" / name
    board.mkdir(parents=True)
    spec = {
        "format": 2,
        "board": name,
        "extends": BOARD,
        "summary": f"With the profile {profile}",
        "profile": profile,
        **_VARIANTS[profile],
    }
    (board / "board.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    output = Output(directory=place / "output" / name, board=name)

    store = place / f"store-{profile}"
    new_store(store)
    places = ("--boards-dir", board.parent)
    words = (*places, "--only", "rootfs", "--store", store)
    root = build(ROOT, place, f"root of {profile}", name, *words)
    shutil.rmtree(store)
    build(ROOT, place, f"image of {profile}", name, *places)
    work = place / f"boot-{profile}"
    work.mkdir()
    stages = reached(work, resolve(SpecTree(root=ROOT, boards_dirs=(board.parent,)), name), output)
    size = output.image.stat()
    return {
        ("image", "bytes"): size.st_size,
        ("of it written", "bytes"): size.st_blocks * 512,
        ("root filesystem from nothing, packages fetched before: wall", "s"): root.wall,
        **{
            (f"boot to {stage}", "s"): stages[stage]
            for stage in ("ssh", "Jupyter")
            if stage in stages
        },
    }
