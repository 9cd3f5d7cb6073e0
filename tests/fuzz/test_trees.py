# SPDX-License-Identifier: MIT
"""Random trees through ext4_writer.c, as libext2fs and e2fsck find them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fuzz.trees import compiled, run


def test_random_trees_are_written_as_they_are(tmp_path: Path) -> None:
    if shutil.which("gcc") is None or not Path("/usr/include/ext2fs/ext2fs.h").exists():
        pytest.skip("needs gcc, libext2fs-dev")
    writer = compiled(tmp_path, "-O0")
    for number in range(3):
        run(writer, bytes([number]), tmp_path, count=60)
