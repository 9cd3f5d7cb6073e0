# SPDX-License-Identifier: MIT
"""What the unit tests share: a small tree of YAML files, a stand-in for a workspace."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from builder.errors import UserError
from builder.spec.reader import Tree
from builder.spec.resolve import ImageSpec, resolve

NO_BYTES = bytes.fromhex("28b52ffd2000010000")
"""Nothing at all, packed by zstd (RFC 8878, 3.1.1): one block, the last one, raw and empty."""

BOARD = """\
board: B
summary: a board
soc: zynq
memory: 512M
console: ttyPS0,115200
root-device: /dev/mmcblk0p2
devicetree: b.dts
bsp: {boot-bin: BOOT.BIN}
distro: [one]
profile: p
"""
DISTRIBUTION = """\
summary: One
family: debian
suite: one
version: "1"
components: [main]
pockets:
  - {suite: one}
mirrors: {main: "http://mirror.invalid/one"}
keyring: one.gpg
keyring-package: one-keyring
python: "3.11"
architectures: [armhf]
sources: {linux: linux-source, u-boot: u-boot, trusted-firmware: arm-trusted-firmware}
"""


class Files:
    """A tree of YAML files, good until a test spoils it: board B, profile p, recipe a."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = Tree(root=root)
        self.board(BOARD)
        self.write("profiles/p.yaml", "summary: p\nrecipes: [a]\n")
        self.write("distributions/one.yaml", DISTRIBUTION)
        self.recipe("a")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    def board(self, text: str, *, name: str = "B", folder: str = "boards") -> None:
        self.write(f"{folder}/{name}/board.yaml", text)
        self.write(f"{folder}/{name}/b.dts", "")
        self.write(f"{folder}/{name}/BOOT.BIN", "")

    def variant(self, text: str, *, name: str = "V", folder: str = "boards") -> None:
        self.write(f"{folder}/{name}/board.yaml", f"board: {name}\n" + dedent(text))

    def recipe(self, name: str, text: str = "") -> None:
        self.write(f"recipes/{name}/recipe.yaml", f"summary: {name}\n" + dedent(text))

    def profile(self, *recipes: str, text: str = "") -> None:
        listed = ", ".join(recipes)
        self.write("profiles/p.yaml", f"summary: p\nrecipes: [{listed}]\n" + dedent(text))

    def resolve(
        self, *, settings: Sequence[str] = (), distro: str | None = None, board: str = "B"
    ) -> ImageSpec:
        return resolve(self.tree, board, settings=settings, distro=distro)

    def problems(self, *, settings: Sequence[str] = (), board: str = "B") -> list[str]:
        """Return the problems that `resolve` finds, with paths below the root."""
        with pytest.raises(UserError) as caught:
            self.resolve(settings=settings, board=board)
        assert caught.value.exit_code == 2
        return [detail.removeprefix(f"{self.root}/") for detail in caught.value.details]

    def order(self) -> list[str]:
        return [recipe.name for recipe in self.resolve().recipes]


class Here:
    """Stands in for a workspace: commands run as they are, in a plain directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def outside(self, path: Path) -> Path:
        return path

    def run(self, argv: Sequence[Any], *, cwd: Path | None = None, **_: Any) -> str:
        done = subprocess.run(
            [str(word) for word in argv], cwd=cwd, check=True, capture_output=True, text=True
        )
        return done.stdout

    @contextmanager
    def workspace(self, name: str, *, need: int, network: bool = False) -> Iterator[Here]:
        del need, network
        self.directory /= name
        self.directory.mkdir()
        yield self
