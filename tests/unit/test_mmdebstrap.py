# SPDX-License-Identifier: MIT
"""What mmdebstrap is told in every step that runs it."""

from __future__ import annotations

from pathlib import Path

from builder.archive.settings import VERIFIED
from builder.steps.mmdebstrap import options
from builder.store.store import Store
from tests.unit.command_line import FakeArchive


def test_apt_in_the_tree_takes_nothing_that_is_not_signed(store: Store, tmp_path: Path) -> None:
    told = options(FakeArchive(), store, tmp_path)
    assert {f"--aptopt={line}" for line in VERIFIED} <= {*told}
