# SPDX-License-Identifier: MIT
"""What the tests of the provider `petalinux` share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.petalinux_provider.support import Bench


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
