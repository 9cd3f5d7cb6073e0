# SPDX-License-Identifier: MIT
"""Installed doubles of PetaLinux."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.petalinux.installed import Installed, install
from tests.petalinux.support import BASH, PYTHON


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installed]:
    """An installed double of both kinds."""
    folder = tmp_path_factory.mktemp("petalinux")
    return {release: install(release, folder) for release in (BASH, PYTHON, "2024.2")}


@pytest.fixture(params=[BASH, PYTHON])
def tool(request: pytest.FixtureRequest, tools: dict[str, Installed]) -> Installed:
    """Each of both kinds."""
    return tools[request.param]


@pytest.fixture
def bash(tools: dict[str, Installed]) -> Installed:
    return tools[BASH]


@pytest.fixture
def python(tools: dict[str, Installed]) -> Installed:
    return tools[PYTHON]


@pytest.fixture
def common() -> Iterator[Path]:
    """A directory that everybody may write to; that of pytest is its user's alone."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)
