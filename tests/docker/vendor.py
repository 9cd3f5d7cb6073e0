# SPDX-License-Identifier: MIT
"""A tree with boards of a vendor's, whose boot files PetaLinux's double builds in containers."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.docker.support import Checkout, checkout
from tests.petalinux.double import make_xsa

RELEASE = "2024.1"
FAMILIES = {"Pynq-Z2": "zynq", "ZCU111": "zynqMP"}
EXPORTS = {"Pynq-Z2": "base/base.xsa", "ZCU111": "hardware/zcu111.xsa"}
"""Where the boards say that their hardware exports are."""
LAYER = "petalinux_bsp/meta-user"
DTSI = f"{LAYER}/recipes-bsp/device-tree/files/system-user.dtsi"


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """A tree with boards of a vendor's, whose boot files PetaLinux builds."""

    place: Checkout
    installer: Path

    def words(self, *words: str, engine: str = "docker") -> list[str]:
        """Return the words of a command with the installer."""
        return [
            *words,
            *("--bsp", "petalinux", "--petalinux-installer", str(self.installer)),
            *("--accept-petalinux-license", "--engine", engine, "--progress", "plain"),
        ]

    def run(self, *words: str, engine: str = "docker") -> subprocess.CompletedProcess[str]:
        """Run build.py with the installer."""
        return self.place.run(*self.words(*words, engine=engine))

    def build(self, *words: str, engine: str = "docker") -> str:
        """Run it to a good end; return what it said."""
        done = self.run(*words, engine=engine)
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    def board(self, name: str) -> Path:
        return self.place.tree / "boards" / name


def vendors_tree(folder: Path, name: str) -> Checkout:
    """Make a copy of the tree in which a board has its hardware export."""
    place = checkout(folder)
    export = place.tree / "boards" / name / EXPORTS[name]
    export.parent.mkdir(exist_ok=True)
    make_xsa(export, FAMILIES[name])
    (place.tree / "local.yaml").write_text("petalinux: {base: debian-bookworm}\n")
    return place


def built(said: str) -> set[str]:
    """Return the steps that were done."""
    return {line.split()[1] for line in said.splitlines() if line.startswith("  done ")}
