# SPDX-License-Identifier: MIT
"""Fixtures for tests of the importer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.sdbuild_imports import Imports


@pytest.fixture
def imports(tmp_path: Path) -> Imports:
    return Imports(tmp_path)
