# SPDX-License-Identifier: MIT
"""What the unit tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.engine.process import Processes
from builder.store.store import Store


@pytest.fixture
def needs_root() -> None:
    """Skip without the right to make namespaces; CI runs as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces, mounts")


@pytest.fixture
def repository() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def processes() -> Iterator[Processes]:
    running = Processes()
    yield running
    running.stop()
