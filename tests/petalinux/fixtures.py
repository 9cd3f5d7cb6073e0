# SPDX-License-Identifier: MIT
"""Fixtures: installed test doubles of PetaLinux."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.petalinux.installed import Installed, install
from tests.petalinux.support import BASH, PYTHON


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installed]:
    """An installed double for each kind of release."""
    folder = tmp_path_factory.mktemp("petalinux")
    return {release: install(release, folder) for release in (BASH, PYTHON, "2024.2")}


@pytest.fixture(params=[BASH, PYTHON])
def tool(request: pytest.FixtureRequest, tools: dict[str, Installed]) -> Installed:
    """The doubles of both kinds."""
    return tools[request.param]


@pytest.fixture
def bash(tools: dict[str, Installed]) -> Installed:
    return tools[BASH]


@pytest.fixture
def python(tools: dict[str, Installed]) -> Installed:
    return tools[PYTHON]


@pytest.fixture
def common() -> Iterator[Path]:
    """A directory that all users may write to; pytest's belongs to one user."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)
