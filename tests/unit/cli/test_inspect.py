# SPDX-License-Identifier: MIT
"""Commands that look at boards and builds: dump, diff, validate, upgrade."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from builder.errors import UserError
from builder.spec.dump import differences, dump
from builder.spec.models import FORMAT
from builder.spec.reader import SpecTree
from builder.spec.recipe import SECRET
from builder.spec.resolve import resolve
from builder.spec.upgrade import PROFILE_UPGRADES, UPGRADES, upgraded
from tests.fixtures.command_line import TREE, CommandLine
from tests.fixtures.specs import BOARD, Files


def test_every_value_says_where_it_is_written(files: Files) -> None:
    files.recipe("a", "parameters: {x: {default: 1, summary: s}, y: {default: 2, summary: s}}\n")
    files.board(f"{BOARD}parameters:\n  a: {{y: 3}}\n")
    spec = resolve(files.tree, "B", settings=["a.x=4"])
    values = {each.key: each for each in dump(spec)}
    board = files.root / "boards/B/board.yaml"
    assert (values["memory"].value, values["memory"].origin) == ("512M", f"{board}:4")
    assert values["emulate.timeout"].origin == "default"
    assert (values["recipe.a.x"].value, values["recipe.a.x"].origin) == (4, "--set")
    lines = BOARD.count("\n")
    assert values["recipe.a.y"].origin == f"{board}:{lines + 2}"


def test_values_of_a_base_are_the_bases(files: Files) -> None:
    files.write("boards/V/board.yaml", "board: V\nextends: B\nmemory: 1G\n")
    values = {each.key: each for each in dump(resolve(files.tree, "V"))}
    assert values["memory"].origin == f"{files.root}/boards/V/board.yaml:3"
    assert values["soc"].origin.startswith(f"{files.root}/boards/B/board.yaml:")


def test_secrets_are_not_shown(build_py: CommandLine) -> None:
    answer = build_py.there("dump", "--board", "Pynq-Z2", "--set", "users.password=hunter2")
    assert answer.status == 0
    assert "hunter2" not in answer.output
    (line,) = (line for line in answer.output.splitlines() if "users.password" in line)
    assert line.split()[1:] == [SECRET, "--set"]


def test_what_is_dumped_can_be_read_by_programs(build_py: CommandLine) -> None:
    answer = build_py.there("dump", "--json", "--board", "Pynq-Z2", "--board", "ZCU111")
    read = json.loads(answer.output)
    assert [*read] == ["Pynq-Z2", "ZCU111"]
    (memory,) = (each["value"] for each in read["ZCU111"] if each["key"] == "memory")
    assert memory == "4G"


def test_boards_differ_where_their_values_do(files: Files) -> None:
    files.write("boards/V/board.yaml", "board: V\nextends: B\nmemory: 1G\nrecipes: [b]\n")
    files.recipe("b", "parameters: {x: {default: 1, summary: s}}\n")
    found = differences(resolve(files.tree, "B"), resolve(files.tree, "V"))
    assert [each.key for each in found] == [
        *("board", "memory", "recipes"),
        *("extends", "recipe.b", "recipe.b.x"),
    ]
    memory = found[1]
    assert memory.left
    assert memory.right
    assert (memory.left.value, memory.right.value) == ("512M", "1G")
    assert not differences(resolve(files.tree, "B"), resolve(files.tree, "B"))


def test_two_boards_are_compared(build_py: CommandLine) -> None:
    answer = build_py.there("diff", "Pynq-Z2", "ZCU111")
    assert answer.status == 0
    assert ["soc", "zynq", "zynqmp"] in [line.split() for line in answer.output.splitlines()]
    assert build_py.there("diff", "ZCU111", "ZCU111").output == "no difference\n"
    answer = build_py.there("diff", "Pynq-Z2", "ZUC111")
    assert answer.status == 2
    assert "did you mean ZCU111?" in answer.errors


def test_two_builds_are_compared(build_py: CommandLine, tmp_path: Path) -> None:
    for name, version in (("old", "1"), ("new", "2")):
        (tmp_path / name).mkdir()
        manifest = {
            "board": "B",
            "image": {"sha256": "0123"},
            "packages": [{"package": "ssh", "version": version}],
        }
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    left, right = str(tmp_path / "old"), str(tmp_path / "new/manifest.json")
    answer = build_py.there("diff", "--json", left, right)
    assert json.loads(answer.output) == [{"key": "packages: ssh", "left": "1", "right": "2"}]
    answer = build_py.there("diff", left, "Pynq-Z2")
    assert answer.status == 2
    assert "one is a build, the other is not" in answer.errors
    (tmp_path / "new/manifest.json").write_text("no")
    assert "not JSON" in build_py.there("diff", left, right).errors
    for text in ("{}", "[]", '{"board": "B", "image": "B.img"}'):
        (tmp_path / "new/manifest.json").write_text(text)
        answer = build_py.there("diff", left, right)
        assert (answer.status, answer.output) == (2, "")
        assert f"error: {right}: not the manifest of a build\n" in answer.errors


def test_the_boards_of_the_tree_are_good(build_py: CommandLine) -> None:
    answer = build_py.there("validate", "--json")
    assert answer.status == 0
    assert {each["board"] for each in json.loads(answer.output)} == {*TREE.board_files()}


def test_problems_of_a_vendors_board_are_told_to_programs(
    build_py: CommandLine, boards_dir: Path
) -> None:
    path = boards_dir / "Pynq-Z2/board.yaml"
    path.write_text(path.read_text().replace("memory: 512M", "memory: lots", 1))
    for given in (boards_dir, path.parent):
        answer = build_py.there("validate", "--json", str(given))
        assert answer.status == 2
        (verdict,) = json.loads(answer.output)
        (problem,) = verdict["problems"]
        assert not verdict["good"]
        assert problem["path"] == str(path)
        assert path.read_text().splitlines()[problem["line"] - 1] == "memory: lots"
        assert problem["key"] == "memory"


def test_a_directory_without_boards_is_not_good(build_py: CommandLine, tmp_path: Path) -> None:
    answer = build_py.there("validate", str(tmp_path))
    assert answer.status == 2
    assert "there is no board" in answer.errors


def test_a_board_without_any_usable_distribution_is_not_good(
    build_py: CommandLine, boards_dir: Path
) -> None:
    path = boards_dir / "Pynq-Z2/board.yaml"
    text = path.read_text()
    path.write_text(
        text.replace("distro: [ubuntu-jammy, debian-bookworm]", "distro: [ubuntu-jammy]")
    )
    shutil.copytree(TREE.root / "recipes/jupyter", boards_dir / "Pynq-Z2/recipes/jupyter")
    for lock in (boards_dir / "Pynq-Z2/recipes/jupyter/requirements").iterdir():
        lock.unlink()
    answer = build_py.there("validate", str(path.parent))
    assert answer.status == 2
    assert "distro: none of these can be used" in answer.output


def test_a_vendor_has_recipes_and_profiles_for_all_his_boards(
    build_py: CommandLine, boards_dir: Path
) -> None:
    path = boards_dir / "Pynq-Z2/board.yaml"
    path.write_text(path.read_text().replace("profile: pynq", "profile: own"))
    (boards_dir / "profiles").mkdir()
    (boards_dir / "profiles/own.yaml").write_text("summary: s\nrecipes: [base, blinking]\n")
    (boards_dir / "recipes/blinking").mkdir(parents=True)
    (boards_dir / "recipes/blinking/recipe.yaml").write_text("summary: s\n")
    spec = resolve(SpecTree(root=TREE.root, boards_dirs=(boards_dir,)), "Pynq-Z2")
    assert [recipe.name for recipe in spec.recipes] == ["base", "blinking"]
    assert build_py.there("validate", str(boards_dir)).status == 0


def test_files_that_no_board_uses_are_checked_too(build_py: CommandLine, boards_dir: Path) -> None:
    board = boards_dir / "Pynq-Z2"
    wrong = {
        boards_dir / "recipes/idle/recipe.yaml": ("summary: s\nrequires: [bose]\n", "requires.0"),
        boards_dir / "profiles/idle.yaml": ("summary: s\nextends: pynk\nrecipes: []\n", "extends"),
        board / "recipes/idle/recipe.yaml": ("summary: s\nscripts: {target: no.sh}\n", "scripts"),
        board / "profiles/idle.yaml": ("summary: s\nrecipes: [bose]\n", "recipes.0"),
    }
    for path, (text, _) in wrong.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    answer = build_py.there("validate", "--json", str(boards_dir))
    assert answer.status == 2
    verdicts = {each["board"]: each for each in json.loads(answer.output)}
    assert {*verdicts} == {"Pynq-Z2", None}
    found = {
        each["path"]: (owner, each["key"])
        for owner, verdict in verdicts.items()
        for each in verdict["problems"]
    }
    assert {*found} == {*map(str, wrong)}
    for path, (_, key) in wrong.items():
        owner, where = found[str(path)]
        assert owner == ("Pynq-Z2" if path.is_relative_to(board) else None)
        assert where.startswith(key)
    # Those of the board alone, where it alone is meant.
    (verdict,) = json.loads(build_py.there("validate", "--json", str(board)).output)
    assert len(verdict["problems"]) == 2
    assert f"{boards_dir}: NOT GOOD" in build_py.there("validate", str(boards_dir)).output


def test_shared_files_may_name_what_only_boards_have(
    build_py: CommandLine, boards_dir: Path
) -> None:
    (boards_dir / "profiles").mkdir()
    (boards_dir / "profiles/idle.yaml").write_text("summary: s\nextends: own\nrecipes: [blink]\n")
    for name, text in (
        ("profiles/own.yaml", "summary: s\nrecipes: [blink]\n"),
        ("recipes/blink/recipe.yaml", "summary: s\n"),
    ):
        path = boards_dir / "Pynq-Z2" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    answer = build_py.there("validate", str(boards_dir))
    assert answer.status == 0, answer.output


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (FORMAT - 1, "older than the"),
        (FORMAT + 1, "which this builder does not know"),
        (0, "which this builder does not know"),
    ],
)
def test_a_board_of_another_format_is_refused(files: Files, written: int, what: str) -> None:
    files.board(f"format: {written}\n{BOARD}unknown-key: 1\n")
    (problem,) = files.problems()
    assert problem.startswith("boards/B/board.yaml:1: format: is ")
    assert what in problem
    # The key that this format may not know any more is not complained of.
    files.write("boards/V/board.yaml", "board: V\nextends: B\n")
    with pytest.raises(UserError) as caught:
        resolve(files.tree, "V")
    assert len(caught.value.details) == 1


def test_every_older_format_has_a_way_up() -> None:
    assert [*UPGRADES] == [*range(1, FORMAT)]
    assert {*PROFILE_UPGRADES} <= {*UPGRADES}


OLD = """\
# A board of a vendor's.
board: X   # its name
profile: "pynq-library" # with designs
parameters: {profile: {x: pynq-library}}
"""
NEW = f"""\
# A board of a vendor's.
format: {FORMAT}
board: X   # its name
profile: pynq # with designs
parameters: {{profile: {{x: pynq-library}}}}
"""


def test_an_upgrade_changes_what_it_must_and_nothing_else() -> None:
    text, notes = upgraded(OLD)
    assert text == NEW
    assert len(notes) == 2
    assert upgraded(NEW) == (NEW, [])
    assert upgraded(f"format: 1\n{OLD}")[0] == f"format: {FORMAT}\n" + NEW.replace(
        f"format: {FORMAT}\n", ""
    )


@pytest.mark.parametrize("text", [f"format: {FORMAT + 1}\n", "format: x\n", "- a list\n", "{"])
def test_what_cannot_be_upgraded_is_left_alone(
    build_py: CommandLine, tmp_path: Path, text: str
) -> None:
    (tmp_path / "board.yaml").write_text(text)
    answer = build_py.there("upgrade", str(tmp_path))
    assert answer.status == 2
    assert answer.errors.startswith(f"error: {tmp_path}/board.yaml: ")
    assert (tmp_path / "board.yaml").read_text() == text


def test_a_directory_of_boards_is_upgraded(build_py: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "X/board.yaml"
    path.parent.mkdir()
    path.write_text(OLD)
    assert build_py.there("upgrade", "--check", str(tmp_path)).status == 2
    assert path.read_text() == OLD
    answer = build_py.there("upgrade", str(tmp_path))
    assert answer.status == 0
    assert "pynq-library" in answer.output
    assert path.read_text() == NEW
    assert [*path.parent.iterdir()] == [path]
    assert build_py.there("upgrade", "--check", str(tmp_path)).status == 0
    assert "there is no board.yaml" in build_py.there("upgrade", str(tmp_path / "none")).errors


def test_profiles_are_upgraded_with_the_boards_that_have_them(
    build_py: CommandLine, boards_dir: Path
) -> None:
    board = boards_dir / "Pynq-Z2"
    path = board / "board.yaml"
    path.write_text(path.read_text().replace("profile: pynq", "profile: one", 1))
    profiles = [boards_dir / "profiles/all.yaml", board / "profiles/one.yaml"]
    old = "# A vendor's.\nsummary: s\nextends: pynq-library  # with designs\nrecipes: []\n"
    for profile in profiles:
        profile.parent.mkdir()
        profile.write_text(old)
    assert build_py.there("validate", str(boards_dir)).status == 2
    assert build_py.there("upgrade", "--check", str(boards_dir)).status == 2
    answer = build_py.there("upgrade", str(boards_dir))
    assert answer.status == 0
    for profile in profiles:
        assert f"{profile}: extends: pynq-library is now part of pynq" in answer.output
        assert profile.read_text() == old.replace("pynq-library", "pynq")
        assert [*profile.parent.iterdir()] == [profile]
    assert build_py.there("upgrade", "--check", str(board), str(boards_dir)).status == 0
    assert build_py.there("validate", str(boards_dir)).status == 0


def test_nothing_is_upgraded_where_a_file_cannot_be(build_py: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "board.yaml").write_text(OLD)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/bad.yaml").write_text("{")
    answer = build_py.there("upgrade", str(tmp_path))
    assert answer.status == 2
    assert answer.errors.startswith(f"error: {tmp_path}/profiles/bad.yaml: not YAML")
    assert (tmp_path / "board.yaml").read_text() == OLD
