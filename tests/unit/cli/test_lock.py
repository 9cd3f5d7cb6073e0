# SPDX-License-Identifier: MIT
"""The command `lock`: errors about recipes without lock files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.command_line import CommandLine

PIP = 'pip: "requirements/{distribution}-{architecture}.txt"\n'


@pytest.mark.parametrize(
    ("keys", "words", "said"),
    [
        (f"{PIP}requirements: [six]\n", [], ("has no lock file yet", "--distro debian-bookworm")),
        ("apt: [python3-six]\n", [], ("names no lock file", "`pip`")),
        (
            "pip: {ubuntu-jammy: jammy.txt}\n",
            ["--distro", "debian-bookworm"],
            ("names no lock file for debian-bookworm", "`pip`"),
        ),
    ],
)
def test_a_named_recipe_without_a_lock_file_is_an_error(
    build_py: CommandLine, boards_dir: Path, keys: str, words: list[str], said: tuple[str, str]
) -> None:
    path = boards_dir / "recipes/mine/recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"summary: s\n{keys}")
    # No lock file is updated if one of the named recipes has none.
    named = ["--recipe", "mine", "--recipe", "jupyter"]
    answer = build_py.there("lock", *named, "--boards-dir", str(boards_dir), *words)
    assert answer.status == 2
    what, hint = said
    first, second = answer.errors.splitlines()
    assert first == f"error: recipe mine {what}"
    assert hint in second
    assert [*path.parent.iterdir()] == [path]
