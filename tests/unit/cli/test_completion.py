# SPDX-License-Identifier: MIT
"""Completions that shells offer with the scripts that `completion` prints."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from builder.cli.options import BOARDS, DISTRIBUTIONS, PROFILES, RECIPES
from tests.fixtures.command_line import TREE, CommandLine

Complete = Callable[..., Sequence[str]]


@pytest.fixture
def complete(build_py: CommandLine, tmp_path: Path) -> Complete:
    """Return the completions of bash for the last word, typed in the checkout."""
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
        ("plan --set jupyter.po", ["jupyter.port="]),
        ("--set users.force-password-change = t", ["true"]),
        ("customize x.img --set jupyter.port =", ["9090"]),
    ],
)
def test_bash_completes(complete: Complete, line: str, found: Sequence[str]) -> None:
    assert sorted(complete(*line.split())) == sorted(found)


def test_all_boards_are_offered_and_nothing_else(complete: Complete) -> None:
    assert sorted(complete("--board", "")) == sorted(TREE.board_files())


@pytest.fixture
def mine(boards_dir: Path) -> Path:
    """A directory of boards with a board, profiles, shared recipes and recipes of the board."""
    (boards_dir / "Pynq-Z2").rename(boards_dir / "Mine")
    for name in ("profiles/mine.yaml", "recipes/mine/recipe.yaml", "Mine/recipes/mi/recipe.yaml"):
        path = boards_dir / name
        path.parent.mkdir(parents=True)
        path.touch()
    return boards_dir


def test_names_from_boards_dir_are_offered(complete: Complete, mine: Path) -> None:
    place = ("--boards-dir", str(mine))
    assert complete(*place, "--board", "Mi") == ["Mine"]
    assert complete("plan", *place, "--profile", "mine") == ["mine"]
    assert complete("lock", *place, "--recipe", "mi") == ["mine", "mi"]
    assert complete("plan", "--boards-dir", "=", place[1], "--board", "Mi") == ["Mine"]


# zsh calls these functions only during a completion; compadd is replaced by printing.
ZSH = """
compdef() { }
compadd() { shift; print -l -- $@ }
eval "$(< $1)"
words=(./build.py ${@:3} "")
$2
"""


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh")
@pytest.mark.parametrize("option", ["", "--boards-dir {}", "--boards-dir={}", "--board=x"])
def test_zsh_offers_names(build_py: CommandLine, mine: Path, tmp_path: Path, option: str) -> None:
    script = tmp_path / "completion"
    script.write_text(build_py.there("completion", "zsh").output)

    def offered(function: Mapping[str, str]) -> set[str]:
        words = option.format(mine).split()
        done = subprocess.run(
            ["zsh", "-efc", ZSH, "zsh", script, function["zsh"], *words],
            cwd=TREE.root,
            capture_output=True,
            text=True,
            check=True,
        )
        return set(done.stdout.split())

    more = "{}" in option
    assert offered(BOARDS) == TREE.board_files().keys() | ({"Mine"} if more else set())
    assert offered(PROFILES) == TREE.profile_files().keys() | ({"mine"} if more else set())
    assert offered(DISTRIBUTIONS) == TREE.distribution_files().keys()
    recipes = TREE.recipe_files([file.parent for file in TREE.board_files().values()])
    assert offered(RECIPES) == recipes.keys() | ({"mine", "mi"} if more else set())
