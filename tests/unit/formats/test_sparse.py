# SPDX-License-Identifier: MIT
"""Continuous writing of large files to disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from builder.errors import StepError
from builder.formats.sparse import written_meanwhile

MIB = 1 << 20


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
