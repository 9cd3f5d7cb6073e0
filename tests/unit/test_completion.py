# SPDX-License-Identifier: MIT
"""What shells offer for a line that has been begun, by the script that `completion` prints."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.unit.command_line import TREE, CommandLine

Complete = Callable[..., Sequence[str]]


@pytest.fixture
def complete(build_py: CommandLine, tmp_path: Path) -> Complete:
    """What bash offers for the last of the words, typed in the checkout."""
    script = tmp_path / "completion"
    script.write_text(build_py.there("completion", "bash").output)

    def offered(*words: str) -> Sequence[str]:
        text = f"""
        source {script}
        function=$(complete -p build.py | grep -o -- '-F [^ ]*' | cut -c 4-)
        COMP_WORDS=({shlex.join(["./build.py", *words])}) COMP_CWORD={len(words)}
        $function ./build.py {shlex.quote(words[-1])} {shlex.quote(["./build.py", *words][-2])}
        printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(
            ["bash", "-eu", "-c", text], cwd=TREE.root, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    return offered


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("plan --board ZC", ["ZCU111"]),
        ("comp", ["completion"]),
        ("--engine do", ["docker"]),
        ("--bo", ["--board", "--boot-files", "--boards-dir"]),
        ("--board ZC", ["ZCU111"]),
        ("--board ZCU111 --profile mini", ["minimal"]),
        ("build --distro ubuntu-j", ["ubuntu-jammy"]),
        ("flash --board ZC", ["ZCU111"]),
        ("flash buil", ["build.py", "builder"]),
        ("diff ZCU111 Pynq-Z", ["Pynq-Z2"]),
        ("diff READ", ["README.md"]),
        ("lock --recipe jup", ["jupyter"]),
        ("new-board New --like ZC", ["ZCU111"]),
        ("validate boa", ["boards"]),
    ],
)
def test_bash_completes(complete: Complete, line: str, found: Sequence[str]) -> None:
    assert sorted(complete(*line.split())) == sorted(found)


def test_all_boards_are_offered_and_nothing_else(complete: Complete) -> None:
    assert sorted(complete("--board", "")) == sorted(TREE.board_files())


def test_what_is_in_directories_of_boards_is_offered(complete: Complete, boards_dir: Path) -> None:
    place = ("--boards-dir", str(boards_dir))
    (boards_dir / "Pynq-Z2").rename(boards_dir / "Mine")
    for name in ("profiles/mine.yaml", "recipes/mine/recipe.yaml", "Mine/recipes/mi/recipe.yaml"):
        path = boards_dir / name
        path.parent.mkdir(parents=True)
        path.touch()
    assert complete(*place, "--board", "Mi") == ["Mine"]
    assert complete("plan", *place, "--profile", "mine") == ["mine"]
    assert complete("lock", *place, "--recipe", "mi") == ["mine", "mi"]
    assert complete("plan", "--boards-dir", "=", place[1], "--board", "Mi") == ["Mine"]
