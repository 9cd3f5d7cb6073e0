# SPDX-License-Identifier: MIT
"""Files with holes."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from builder.errors import StepError
from builder.steps.sparse import sha256, written_meanwhile

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize(
    ("size", "pieces"),
    [
        (0, {}),
        (1, {0: b"x"}),
        (3 * MIB + 5, {}),
        (3 * MIB, {0: b"x" * 10}),
        (5 * MIB + 7, {MIB - 3: b"across a chunk", 4 * MIB: b"y" * MIB}),
        (2 * MIB + 9, {2 * MIB: b"the end is"}),
        (MIB, {64 * KIB * at: b"z" * KIB for at in range(16)}),
    ],
)
def test_the_hash_is_that_of_the_whole_content(
    tmp_path: Path, size: int, pieces: dict[int, bytes]
) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        for at, data in pieces.items():
            file.seek(at)
            file.write(data)
        file.truncate(size)
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_written_meanwhile_is_all_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with written_meanwhile(path):
        path.write_bytes(b"x" * MIB)
    assert path.read_bytes() == b"x" * MIB


def test_whoever_writes_may_fail(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(RuntimeError), written_meanwhile(path):
        raise RuntimeError


def test_what_could_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file"
    path.touch()
    monkeypatch.setattr(os, "fdatasync", full)
    with (
        pytest.raises(StepError, match="file cannot be written: No space left"),
        written_meanwhile(path),
    ):
        path.write_bytes(b"x")
