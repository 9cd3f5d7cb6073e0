# SPDX-License-Identifier: MIT
"""Designs of real boards, and new boards made of them.

AMD's designs come with the source distribution of the pynq library: out of the store if a recipe has
brought it there, else from the package index, by its hash.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from builder.cli.context import default_store
from builder.network.download import fetch
from builder.publish.output import Output
from builder.rootfs.python_index import IndexSource, index_url
from builder.sandbox.process import Processes
from builder.spec.models import Soc
from builder.store.checksum import sha256
from tests.exports import hwh, make_xsa, start_up
from tests.support import ROOT, build_py

DESIGNS = {"Pynq-Z1": Soc.ZYNQ, "Pynq-Z2": Soc.ZYNQ, "ZCU104": Soc.ZYNQMP}
"""AMD's base designs, by the boards that they are for."""

SMALL = {"Small-Zynq": Soc.ZYNQ, "Small-ZynqMP": Soc.ZYNQMP}
"""Boards of our own making. The second has console, card and network on other controllers than ours."""

PREFIX = "New-"
"""Of the new boards' names: the tree has boards of the designs' names itself."""

_FILE = "pynq-3.1.2.tar.gz"


def handoffs(folder: Path) -> dict[str, Path]:
    """Return the .hwh of each of AMD's base designs, put into a directory."""
    archive = _stored() or _downloaded(folder)
    found = {}
    with tarfile.open(archive) as members:
        for board in DESIGNS:
            member = members.extractfile(f"pynq-3.1.2/boards/{board}/base/base.hwh")
            assert member
            found[board] = folder / f"{board}.hwh"
            found[board].write_bytes(member.read())
    return found


def base_design(folder: Path, board: str) -> Path:
    """Return AMD's base design of a board, put into a directory: all but the sources of its logic."""
    archive = _stored() or _downloaded(folder)
    top = f"pynq-3.1.2/boards/{board}/base/"
    with tarfile.open(archive) as members:
        for member in members:
            if not member.isfile() or not member.name.startswith(top):
                continue
            target = folder / "base" / member.name.removeprefix(top)
            content = members.extractfile(member)
            assert content
            if target.suffix != ".tcl":
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
    return folder / "base"


def _checksum() -> str:
    recipe = yaml.safe_load((ROOT / "recipes/pynq/recipe.yaml").read_text())
    checksum: str = recipe["sdists"]["armhf"][_FILE]
    return checksum


def _stored() -> Path | None:
    stored = default_store().glob(f"entries/*/files/{_FILE}")
    return next((path for path in stored if sha256(path) == _checksum()), None)


def _downloaded(folder: Path) -> Path:
    source = IndexSource("pynq", _FILE, _checksum(), scope="tests")
    processes, target = Processes(), folder / _FILE
    with target.open("wb") as file:
        fetch(source.find(index_url(), processes), file, processes=processes)
    assert sha256(target) == _checksum()
    return target


def exports(folder: Path) -> dict[str, Path]:
    """Return a hardware export for each new board, as Vivado would write it but for the start-up code."""
    made = {}
    for board, path in handoffs(folder).items():
        files: dict[str, str | bytes] = {"base.hwh": path.read_bytes(), **start_up(DESIGNS[board])}
        made[f"{PREFIX}{board}"] = make_xsa(folder / f"{board}.xsa", files)
    for board, soc in SMALL.items():
        text = hwh(soc, parameters={"PSU_DDR_RAM_HIGHADDR": "0x7FFFFFFF"})
        files = {"design_1.hwh": text, **start_up(soc)}
        made[f"{PREFIX}{board}"] = make_xsa(folder / f"{board}.xsa", files)
    return made


def make_boards(folder: Path, made_of: Mapping[str, Path], *words: str) -> Path:
    """Run `new-board` for each export; return the directory of boards."""
    boards = folder / "boards"
    for name, export in made_of.items():
        done = build_py(
            *("new-board", name, "--xsa", str(export), "--directory", str(boards)),
            *("--profile", "minimal", *words),
        )
        assert done.returncode == 0, done.stdout
    return boards


def build_boards(folder: Path, verb: str, *names: str) -> dict[str, Output]:
    """Build or test new boards, in one call; return their output directories."""
    words = [word for name in names for word in ("--board", name)]
    places = ("--boards-dir", str(folder / "boards"), "--output", str(folder / "output"))
    done = build_py(verb, *words, *places, "--progress", "plain")
    assert done.returncode == 0, done.stdout[-6000:]
    return {name: Output(directory=folder / "output" / name, board=name) for name in names}
