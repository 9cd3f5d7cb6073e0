# SPDX-License-Identifier: MIT
"""The check at the end of a run finds the processes that tests left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.leftovers import naming, remaining


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
