# SPDX-License-Identifier: MIT
"""The board's image with each profile: its size, and how long building and booting it take."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from bench.board import BOARD
from bench.boot import reached
from bench.measure import Row, cost_of, say
from builder.cli.context import ROOT
from builder.plan.publish import Output
from builder.spec.reader import Tree
from builder.spec.resolve import resolve

_REFERENCE = "pynq"
_VARIANTS: dict[str, dict[str, object]] = {
    "minimal": {},
    _REFERENCE: {},
    "pynq-full": {"emulate": {"card": "8G"}},
}
"""Profiles, and what an image of each needs besides."""
_SHARED = ("kernel", "u-boot", "linux-source", "u-boot-source", "modules", "qemu")
"""Steps that are the same in all of them."""


def run(place: Path, peers: bool) -> list[Row]:  # noqa: ARG001, FBT001 - the sections' one signature
    """Build a variant of the board for each profile, in the user's store, and boot it."""
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
    """Return what one profile's image takes: by what and its unit."""
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
    say(f"building {name}")
    cost_of(
        [
            *(sys.executable, ROOT / "build.py", "--board", name, "--boards-dir", board.parent),
            *("--output", place / "output", "--progress", "plain", "--engine", "host"),
        ],
        log=place / f"{name}.log",
    )
    output = Output(directory=place / "output" / name, board=name)
    manifest = json.loads(output.manifest.read_text())
    building = sum(
        step["seconds"] or 0.0 for step in manifest["steps"] if step["name"] not in _SHARED
    )
    work = place / f"boot-{profile}"
    work.mkdir()
    stages = reached(work, resolve(Tree(root=ROOT, boards_dirs=(board.parent,)), name), output)
    size = output.image.stat()
    return {
        ("image", "bytes"): size.st_size,
        ("of it written", "bytes"): size.st_blocks * 512,
        ("its own steps, one after the other", "s"): building,
        **{
            (f"boot to {stage}", "s"): stages[stage]
            for stage in ("ssh", "Jupyter")
            if stage in stages
        },
    }
