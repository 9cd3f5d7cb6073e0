# SPDX-License-Identifier: MIT
"""Paths that the builder's container shares with others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.containers.containers import Mount
from builder.containers.shared_paths import SharedPaths
from builder.errors import StepError

STORE = Path("/store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "store/entries").mkdir(parents=True)
    (tmp_path / "store/input").mkdir()
    (tmp_path / "file").touch()
    return tmp_path


@pytest.fixture
def shared(folder: Path) -> Iterator[SharedPaths]:
    mounts = [
        Mount(source=folder / "store", target=STORE),
        Mount(source=folder / "store/input", target=STORE / "input", read_only=True),
        Mount(source=folder / "file", target=Path("/file"), read_only=True),
        Mount(source=folder / "missing", target=Path("/missing")),
    ]
    with SharedPaths(mounts) as opened:
        yield opened


def test_paths_are_those_of_this_machine(shared: SharedPaths, folder: Path) -> None:
    assert shared.resolve(STORE, read_only=False) == folder / "store"
    assert shared.resolve(STORE / "entries") == folder / "store/entries"
    assert shared.resolve(STORE / "input") == folder / "store/input"
    assert shared.resolve(Path("/file")) == folder / "file"


@pytest.mark.parametrize(
    ("path", "access", "problem"),
    [
        ("/", "read", "is not shared"),
        ("/storehouse", "read", "is not shared"),
        ("/missing", "read", "is not shared"),
        ("/file", "write", "is not shared with the builder's container with write access"),
        ("/store/none", "read", "No such file or directory"),
        ("/store/link", "read", "is a symbolic link"),
        ("/store/link/passwd", "read", "Not a directory"),
        ("/store/inner", "read", "is a symbolic link"),
        ("/store/../etc", "read", None),
        ("/store/pipe", "read", "is neither a file nor a directory"),
    ],
)
def test_other_paths_are_refused(
    shared: SharedPaths, folder: Path, path: str, access: str, problem: str | None
) -> None:
    (folder / "store/link").symlink_to("/etc")
    (folder / "store/inner").symlink_to("entries")
    os.mkfifo(folder / "store/pipe")
    with pytest.raises(StepError, match=problem):
        shared.resolve(Path(path), read_only=access == "read")


def test_a_directory_that_is_exchanged_for_a_link_is_not_followed(
    shared: SharedPaths, folder: Path
) -> None:
    (folder / "store").rename(folder / "moved")
    (folder / "store").symlink_to("/etc")
    assert shared.resolve(STORE / "entries") == folder / "moved/entries"
    with pytest.raises(StepError, match="No such file"):
        shared.resolve(STORE / "passwd")
