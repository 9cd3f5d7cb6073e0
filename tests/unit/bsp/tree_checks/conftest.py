# SPDX-License-Identifier: MIT
"""Fixture: device trees compiled from source."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.formats.devicetree import DeviceTree, read_tree

Compile = Callable[[str], DeviceTree]


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compile the source of a tree or of an overlay, with symbols as in the build."""

    def compiled(source: str) -> DeviceTree:
        path = tmp_path / "tree.dts"
        path.write_text(source)
        target = tmp_path / "tree.dtb"
        subprocess.run(["dtc", "-q", "-@", "-O", "dtb", "-o", target, path], check=True)
        return read_tree(target)

    return compiled
