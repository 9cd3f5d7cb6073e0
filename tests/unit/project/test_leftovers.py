# SPDX-License-Identifier: MIT
"""Processes that tests left behind are found, and files that take much of the disk are removed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fixtures.leftovers import naming, remaining, remove_large_files


@pytest.mark.parametrize("by", ["words", "environment"])
def test_a_process_that_names_a_directory_is_found(tmp_path: Path, by: str) -> None:
    words = ["sh", "-c", "echo; read _", "sh"] + ([str(tmp_path / "file")] if by == "words" else [])
    place = str(tmp_path / "home") if by == "environment" else "/"
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, env={"HOME": place}) as process:
        assert process.stdout
        process.stdout.readline()  # before, its command line may be empty yet
        found = naming(str(tmp_path))
        assert {process.pid} == {*remaining(str(tmp_path), 0)} == {*found}
        assert found[process.pid].startswith("sh -c echo; read _ sh")
        process.communicate()
    assert not remaining(str(tmp_path), 10)


def test_large_files_are_removed_and_nothing_else(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for path in (outside, folder / "sub/large"):
        path.write_bytes(b"x" * (2 << 20))
    (folder / "small").write_bytes(b"x")
    with (folder / "sparse").open("wb") as file:
        file.truncate(2 << 20)
    (folder / "link").symlink_to(outside)
    remove_large_files(folder)
    assert {path.name for path in folder.rglob("*")} == {"sub", "small", "sparse", "link"}
    assert outside.exists()
