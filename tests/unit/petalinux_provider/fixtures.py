# SPDX-License-Identifier: MIT
"""Fixtures of the tests of the provider `petalinux`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.petalinux.double import make_xsa
from tests.petalinux.installed import install
from tests.unit.petalinux_provider.support import DTSI, PYTHON, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A board whose boot files PetaLinux builds."""
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A board whose boot files were built, to be left as it is."""
    made = Bench(tmp_path_factory.mktemp("petalinux-provider"))
    made.installer()
    made.build()
    return made


@pytest.fixture
def built(built_once: Bench, tmp_path: Path) -> Bench:
    """A board whose boot files were built."""
    return Bench(tmp_path, like=built_once)


@pytest.fixture
def bsp(tmp_path: Path) -> Path:
    """A BSP of 2024.1 for Zynq-7000, with a device tree of its own."""
    folder = tmp_path / "vendor"
    folder.mkdir()
    tool = install(PYTHON, folder)
    project = tool.project(folder, name="vendor")
    user = project / "project-spec/meta-user"
    (user / DTSI).write_text('/include/ "system-conf.dtsi"\n/ { model = "vendor"; };\n')
    hardware = f"--get-hw-description={make_xsa(folder / 'vendor.xsa')}"
    for words in (
        ("petalinux-config", hardware, "--silentconfig"),
        ("petalinux-package", "bsp", "-p", str(project), "-o", str(folder / "vendor.bsp")),
    ):
        done = tool.run(*words, cwd=project)
        assert done.returncode == 0, done.stdout
    return folder / "vendor.bsp"
