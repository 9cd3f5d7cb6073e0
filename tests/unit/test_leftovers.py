# SPDX-License-Identifier: MIT
"""The check at the end of a run finds the processes that tests left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.leftovers import naming, remaining


@pytest.mark.parametrize("by", ["words", "environment"])
def test_a_process_that_names_a_directory_is_found(tmp_path: Path, by: str) -> None:
    words = ["sh", "-c", "read _", "sh"] + ([str(tmp_path / "file")] if by == "words" else [])
    place = str(tmp_path / "home") if by == "environment" else "/"
    with subprocess.Popen(words, stdin=subprocess.PIPE, env={"HOME": place}) as process:
        found = naming(str(tmp_path))
        assert {process.pid} == {*remaining(str(tmp_path), 0)} == {*found}
        assert found[process.pid].startswith("sh -c read _ sh")
        process.communicate()
    assert not remaining(str(tmp_path), 10)
