# SPDX-License-Identifier: MIT
"""Helpers of the tests of the PetaLinux double."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.petalinux.double import make_xsa
from tests.petalinux.installed import Installed
from tests.petalinux.tool import kconfig

BASH, PYTHON = "2022.1", "2024.1"
BOTH = pytest.mark.parametrize("release", [BASH, PYTHON])
DTS = "project-spec/meta-user/recipes-bsp/device-tree/files/system-user.dtsi"
UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

_CONFIGURED: dict[tuple[Path, str], Path] = {}


def configured(tool: Installed, cwd: Path, family: str = "zynq") -> Path:
    """Return a project with a hardware description; created once per kind, then copied."""
    made = _CONFIGURED.get((tool.root, family))
    if made is None:
        folder = tool.root.parent / f"{tool.root.name}-{family}"
        folder.mkdir()
        made = tool.project(folder, family)
        xsa = make_xsa(folder / "design.xsa", family)
        words = ("petalinux-config", f"--get-hw-description={xsa}", "--silentconfig")
        done = tool.run(*words, cwd=made)
        assert done.returncode == 0, done.stdout
        _CONFIGURED[tool.root, family] = made
    shutil.copytree(made, cwd / "p")
    return cwd / "p"


def append(project: Path, *lines: str) -> None:
    with (project / "project-spec/configs/config").open("a") as config:
        config.write("".join(f"{line}\n" for line in lines))


def settings(project: Path) -> dict[str, str]:
    return kconfig.read(project / "project-spec/configs/config")


def metadata(project: Path) -> dict[str, str]:
    lines = (project / ".petalinux/metadata").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def package(tool: Installed, kind: str) -> tuple[str, str]:
    return ("petalinux-package", kind if tool.release.python else f"--{kind}")
