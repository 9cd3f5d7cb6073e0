# SPDX-License-Identifier: MIT
"""The command line: exit codes, help, and error reports without tracebacks."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builder.cli.context import typed
from builder.cli.main import parsers
from builder.errors import UserError
from builder.publish.output import is_result, make_result
from builder.scheduler.scheduler import StepFailure
from builder.spec.schemas import KINDS
from builder.store.store import Store
from tests.fixtures.command_line import TREE, Answer, CommandLine, FakeArchive
from tests.fixtures.product import ROOT

VERBS = ["build", "plan", "test"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--board", "Pnyq-Z2"], "error: there is no board Pnyq-Z2 (did you mean Pynq-Z2?)"),
        (
            ["--board", "Pynq-Z2", "--set", "port=1"],
            "error: --set port: must be RECIPE.PARAMETER=VALUE",
        ),
        (
            ["--board", "Pynq-Z2", "--set", "jupyter.port=x"],
            "error: --set jupyter.port: must be a number, not 'x'",
        ),
        (
            ["--board", "Pynq-Z2", "--set", "jupiter.port=1"],
            "error: --set jupiter.port: the image has no recipe jupiter (did you mean jupyter?)",
        ),
        (
            ["--board", "Pynq-Z2", "--distro", "ubuntu-jamy"],
            "error: --distro ubuntu-jamy: there is none (did you mean ubuntu-jammy?)",
        ),
        (
            ["--board", "Pynq-Z2", "--boards-dir", "/nowhere"],
            "error: --boards-dir /nowhere: no such directory",
        ),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(
    build_py: CommandLine, verb: str, words: list[str], error: str
) -> None:
    answer = build_py.there(verb, *words)
    assert answer.status == 2
    assert answer.errors == f"{error}\n"


@pytest.mark.parametrize("board", ["Pynq-Z1", "Pynq-ZU", "ZCU112"])
def test_another_model_is_no_misspelt_board(build_py: CommandLine, board: str) -> None:
    answer = build_py.there("plan", "--board", board)
    boards = ", ".join(sorted(TREE.board_files()))
    assert answer.status == 2
    assert answer.errors == f"error: there is no board {board} (there are: {boards})\n"


@pytest.mark.parametrize("verb", VERBS)
def test_problems_of_a_board_are_listed_with_file_line_and_key(
    build_py: CommandLine, boards_dir: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = boards_dir / "Pynq-Z2/board.yaml"
    path.write_text(path.read_text().replace("soc: zynq", "soc: z80\nprofle: x"))
    line = 1 + path.read_text().splitlines().index("soc: z80")
    monkeypatch.chdir(boards_dir)
    answer = build_py.there(verb, "--board", "Pynq-Z2", "--boards-dir", ".")
    assert answer.status == 2
    assert answer.errors.splitlines() == [
        "error: 2 problems in the specification",
        f"  Pynq-Z2/board.yaml:{line}: soc: input should be 'zynq' or 'zynqmp', not 'z80'",
        f"  Pynq-Z2/board.yaml:{line + 1}: profle: is not a known key (there are: accepted-findings, boot-overlay, emulate, extends, notebooks, overlays, parameters, recipes, sysroot)",
    ]


@pytest.mark.parametrize(("count", "steps"), [(1, 2), (2, 2), (32, 32)])
def test_without_a_number_a_step_for_each_processor_runs(
    monkeypatch: pytest.MonkeyPatch, count: int, steps: int
) -> None:
    monkeypatch.setattr("builder.cli.options.processors", lambda: count)
    parser, _ = parsers()
    assert parser.parse_args(["build", "--board", "B"]).jobs == steps
    assert parser.parse_args(["build", "--board", "B", "--jobs", "auto"]).jobs == steps
    assert parser.parse_args(["build", "--board", "B", "--jobs", "5"]).jobs == 5


@pytest.mark.parametrize(
    "words",
    [
        ["biuld"],
        ["--boart", "Pynq-Z2"],
        ["build"],
        ["build", "--board"],
        ["build", "--board", "Pynq-Z2", "--jobs", "0"],
        ["build", "--board", "Pynq-Z2", "--jobs", "many"],
        ["build", "--board", "Pynq-Z2", "--update", "--offline"],
        ["build", "--board", "Pynq-Z2", "--compress", "zip"],
        ["build", "--board", "Pynq-Z2", "--all"],
        ["build", "--boar", "Pynq-Z2"],
    ],
)
def test_wrong_usage_is_exit_code_2(build_py: CommandLine, words: list[str]) -> None:
    answer = build_py(*words)
    assert answer.status == 2
    assert answer.errors.startswith("usage: build.py ")
    assert ": error: " in answer.errors


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["biuld"], "there is no command biuld (did you mean build?)"),
        (["--boart", "Pynq-Z2"], "there is no option --boart (did you mean --board?)"),
        (["plan", "--board", "B", "--ofline"], "there is no option --ofline (did you mean"),
        (["cache", "--verfy"], "there is no option --verfy (did you mean --verify?)"),
        (["cache", "--something"], "unrecognized arguments: --something"),
    ],
)
def test_misspelt_commands_and_options_get_a_suggestion(
    build_py: CommandLine, words: list[str], error: str
) -> None:
    answer = build_py(*words)
    assert answer.status == 2
    assert f"error: {error}" in answer.errors


def test_the_main_help_lists_every_command_once(build_py: CommandLine) -> None:
    _, verbs = parsers()
    found = re.findall(r"^  ([a-z][a-z-]+)  ", build_py("--help").output, re.MULTILINE)
    assert sorted(found) == sorted(verbs.parsers)


def test_examples_of_the_help_are_valid_command_lines() -> None:
    parser, verbs = parsers()
    for name, examples in verbs.examples.items():
        assert len(examples) == 2
        for example in examples:
            words = shlex.split(example.partition(" > ")[0])
            assert words[0] == name
            assert callable(parser.parse_args(words).run)
            assert f"  build.py {example}\n" in verbs.parsers[name].format_help()


def test_only_the_command_line_parses_arguments() -> None:
    found = {
        path.relative_to(ROOT).parts[1]
        for path in (ROOT / "builder").rglob("*.py")
        if re.search(r"^\s*(import|from) argparse\b", path.read_text(), re.MULTILINE)
    }
    assert found == {"cli"}


def test_a_wrong_size_of_the_store_is_exit_code_2(build_py: CommandLine) -> None:
    answer = build_py.there("cache", "--store-size", "lots")
    assert answer.status == 2
    assert "must be a size like 512K, 100M or 1G" in answer.errors


def test_a_store_that_cannot_be_created_is_a_user_error(
    build_py: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    answer = build_py("cache", "--store", str(tmp_path / "file/store"))
    assert answer.status in (2, 4)
    assert str(tmp_path / "file") in answer.errors


def test_offline_without_indexes_says_what_to_do(build_py: CommandLine) -> None:
    answer = build_py.there("plan", "--board", "Pynq-Z2", "--offline")
    assert answer.status == 2
    assert answer.errors == (
        "error: --offline, but the package indexes have not been fetched yet\n"
        "hint: build once, or run `plan`, without --offline\n"
    )


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("words", [[], ["--strict-archive"]])
def test_a_strict_choice_of_the_archive(
    build_py: CommandLine, monkeypatch: pytest.MonkeyPatch, verb: str, words: list[str]
) -> None:
    asked: list[object] = []

    def choose(*_: object, strict: bool, **__: object) -> None:
        asked.append(strict)
        raise UserError("far enough")

    monkeypatch.setattr("builder.cli.planning.select_distribution", choose)
    monkeypatch.setattr("builder.cli.build.check_machine", lambda _: [])
    answer = build_py.there(verb, "--board", "Pynq-Z2", *words)
    assert answer.errors == "error: far enough\n"
    assert asked == [bool(words)]


def test_without_words_it_helps(build_py: CommandLine) -> None:
    answer = build_py()
    assert answer.status == 0
    assert "build.py --board Pynq-Z2" in answer.output


def test_help_of_a_command_is_its_own(build_py: CommandLine) -> None:
    for words in (["help"], ["help", "plan"]):
        answer = build_py(*words)
        assert (answer.status, answer.errors) == (0, "")
        assert answer.output == build_py(*words[1:], "--help").output
    answer = build_py("help", "paln")
    assert (answer.status, answer.output) == (2, "")
    assert answer.errors == "error: there is no command paln (did you mean plan?)\n"


def test_the_version_names_the_commit(build_py: CommandLine) -> None:
    answer = build_py("--version")
    assert (answer.status, answer.errors) == (0, "")
    found = re.fullmatch(r"build\.py \d+\.\d+\.\d+( \(commit (\S+)\))?\n", answer.output)
    assert found
    if (ROOT / ".git").exists() and shutil.which("git"):
        words = ["git", "-c", f"safe.directory={ROOT}", "rev-parse", "HEAD"]
        head = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert head[:12] in (found[2] or "")


def test_an_option_first_means_build(
    build_py: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def build(arguments: argparse.Namespace, _: object) -> int:
        seen.extend(arguments.boards)
        return 0

    monkeypatch.setattr("builder.cli.build.build", build)
    assert build_py("--board", "Pynq-Z2").status == 0
    assert seen == ["Pynq-Z2"]


@pytest.mark.parametrize("verb", [*VERBS, "shell"])
@pytest.mark.parametrize(("words", "native"), [([], True), (["--no-native"], False)])
def test_programs_run_natively_unless_disabled(
    build_py: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    words: list[str],
    *,
    native: bool,
) -> None:
    asked: list[object] = []
    mine = object()

    def steps(*_: object, native: object, **__: object) -> None:
        asked.append(native)
        raise UserError("far enough")

    monkeypatch.setattr("builder.cli.planning.select_distribution", lambda *_, **__: FakeArchive())
    monkeypatch.setattr("builder.cli.planning.native_archive", lambda *_, **__: mine)
    monkeypatch.setattr("builder.cli.planning.board_steps", steps)
    monkeypatch.setattr("builder.cli.build.check_machine", lambda _: [])
    command = [verb, *(["recipe:users"] if verb == "shell" else [])]
    answer = build_py.there(*command, "--board", "Pynq-Z2", *words)
    assert answer.errors == "error: far enough\n"
    assert asked == [mine if native else None]


@pytest.mark.parametrize(
    ("words", "command", "board"),
    [
        (["--board", "X", "plan"], "plan", "X"),
        (["--offline", "plan", "--board=X"], "plan", "X"),
        (["--board", "X", "-k", "build", "test"], "test", "X"),
        (["--board", "plan"], "build", "plan"),
        (["--board", "plan", "plan"], "plan", "plan"),
        (["--board", "X", "--board", "Y", "plan"], "plan", "X Y"),
        (["plan", "--board", "build"], "plan", "build"),
    ],
)
def test_options_may_stand_before_the_command(
    build_py: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    command: str,
    board: str,
) -> None:
    seen: list[str] = []

    def run(arguments: argparse.Namespace, _: object) -> int:
        seen.extend(arguments.boards)
        return 0

    monkeypatch.setattr(f"builder.cli.{command}.{command}", run)
    assert build_py(*words).status == 0
    assert seen == board.split()


def test_boards_lists_those_of_the_tree_and_of_other_directories(
    build_py: CommandLine, boards_dir: Path
) -> None:
    (boards_dir / "Pynq-Z2").rename(boards_dir / "Own")
    answer = build_py.there("boards", "--boards-dir", str(boards_dir))
    assert answer.status == 0
    for board in (*TREE.board_files(), "Own"):
        assert re.search(rf"^\s*{board}\s+zynq(mp)?\s+\d+[MG]\s", answer.output, re.MULTILINE)


def test_boards_lists_the_good_ones_and_names_the_bad(
    build_py: CommandLine, boards_dir: Path
) -> None:
    (boards_dir / "Pynq-Z2").rename(boards_dir / "Bad")
    (boards_dir / "Bad/board.yaml").write_text("board: [\n")
    answer = build_py.there("boards", "--boards-dir", str(boards_dir))
    assert answer.status == 2
    assert "Pynq-Z2" in answer.output
    assert "Bad/board.yaml:2: not YAML" in answer.errors


def test_recipes_lists_all_with_their_parameters(build_py: CommandLine) -> None:
    answer = build_py.there("recipes")
    assert answer.status == 0
    for recipe in TREE.recipe_files():
        assert re.search(rf"^{recipe}  \S", answer.output, re.MULTILINE)
    assert re.search(r"^    jupyter\.port = 9090  TCP port$", answer.output, re.MULTILINE)
    assert "kernel-modules.load = []" in answer.output


def test_recipes_of_boards_are_listed_too(build_py: CommandLine, boards_dir: Path) -> None:
    path = boards_dir / "Pynq-Z2/recipes/blinking/recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("summary: LEDs that blink\n")
    answer = build_py.there("recipes", "--boards-dir", str(boards_dir))
    assert "\nblinking  LEDs that blink\n" in answer.output


def test_cache_lists_entries(build_py: CommandLine, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with store.building("0123"):
        store.draft("0123")
        store.commit("0123", step="kernel", components={}, seconds=75)
    answer = build_py.there("cache")
    assert answer.status == 0
    assert re.search(r"^0123 .* 1 min 15 s  kernel$", answer.output, re.MULTILINE)
    assert "1 entries" in answer.output or "1 entry" in answer.output


@pytest.fixture
def filled(tmp_path: Path) -> Store:
    """A store with two entries."""
    store = Store(tmp_path / "store")
    for key, step in (("0123", "kernel"), ("4567", "u-boot")):
        with store.building(key):
            (store.draft(key) / "output").write_text(step)
            store.commit(key, step=step, components={}, seconds=75)
    return store


def test_cache_verifies_and_removes_damaged_entries(build_py: CommandLine, filled: Store) -> None:
    answer = build_py.there("cache", "--verify")
    assert (answer.status, answer.output) == (0, "2 entries verified, 0 damaged\n")
    (filled.root / "entries/4567/files/output").write_text("a-boot")
    answer = build_py.there("cache", "--verify")
    assert answer.status == 3
    assert answer.output == (
        "4567  u-boot: files/output has other content; removed\n2 entries verified, 1 damaged\n"
    )
    (filled.root / "entries/0123/entry.json").write_text("")
    answer = build_py.there("cache", "--verify")
    assert answer.status == 3
    assert re.match(
        r"0123  unknown step: \S+/entry\.json cannot be read: .*; removed\n", answer.output
    )
    assert build_py.there("cache", "--verify").output == "0 entries verified, 0 damaged\n"


def test_cache_does_not_remove_entries_in_use(build_py: CommandLine, filled: Store) -> None:
    (filled.root / "entries/4567/files/output").unlink()
    with filled.building("4567"):
        answer = build_py.there("cache", "--verify")
    assert "files/output is missing; in use by a build, which rebuilds it\n" in answer.output
    assert filled.keys() == ["0123", "4567"]


def test_lists_are_json_for_programs(
    build_py: CommandLine, filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(*words: str) -> list[dict[str, Any]]:
        answer = build_py.there(*words, "--progress", "json")
        assert (answer.status, answer.errors) == (0, "")
        found: list[dict[str, Any]] = json.loads(answer.output)
        return found

    assert {board["board"]: board["memory"] for board in listed("boards")}["Pynq-Z2"] == 512 << 20
    recipes = {recipe["recipe"]: recipe for recipe in listed("recipes")}
    assert recipes.keys() >= TREE.recipe_files().keys()
    port = {"default": 9090, "summary": "TCP port", "secret": False}
    assert recipes["jupyter"]["parameters"]["port"] == port
    assert [(entry["key"], entry["step"]) for entry in listed("cache")] == [
        *(("0123", "kernel"), ("4567", "u-boot"))
    ]
    assert filled.keys() == ["0123", "4567"]
    step = SimpleNamespace(label="kernel", reason=None, cached=True, boards=["B"])
    planned = SimpleNamespace(plan=[step])
    monkeypatch.setattr("builder.cli.plan.plan_images", lambda *_: planned)
    assert listed("plan", "--board", "Pynq-Z2") == [
        {"step": "kernel", "boards": ["B"], "kept": True, "what": "cached"}
    ]


def test_errors_are_events_for_programs(build_py: CommandLine) -> None:
    answer = build_py.there("build", "--board", "Pnyq-Z2", "--progress", "json")
    event = json.loads(answer.output)
    assert (answer.status, event["event"], event["status"]) == (2, "CommandFailed", 2)
    assert answer.errors == f"error: {event['message']}\n"


CLEANING = """
import sys
sys.path.insert(0, {root!r})
from builder.store.store import Store
from pathlib import Path
print(Store(Path(sys.argv[1])).empty())
"""


def test_the_store_is_not_emptied_while_a_plan_is_made(
    build_py: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def planning(*_: object) -> SimpleNamespace:
        program = CLEANING.format(root=str(ROOT))
        words = [sys.executable, "-c", program, str(tmp_path / "store")]
        said.append(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        kept = SimpleNamespace(label="kernel", reason=None, cached=True)
        return SimpleNamespace(plan=[kept])

    monkeypatch.setattr("builder.cli.plan.plan_images", planning)
    answer = build_py.there("plan", "--board", "Pynq-Z2")
    assert (answer.status, answer.output) == (0, "kernel  cached\nall cached\n")
    assert said == ["False\n"]


@pytest.mark.parametrize("error", ["full", "other"])
def test_a_full_disk_is_a_host_error(
    build_py: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    def boards(*_: object) -> int:
        number = errno.ENOSPC if error == "full" else errno.EIO
        raise OSError(number, os.strerror(number), str(tmp_path / "output/x"))

    (tmp_path / "output").mkdir()
    monkeypatch.setattr("builder.cli.boards.boards", boards)
    if error == "other":
        with pytest.raises(OSError, match="Input/output error"):
            build_py.there("boards")
        return
    answer = build_py.there("boards")
    assert answer.status == 4
    told, *rest = answer.errors.splitlines()
    assert re.fullmatch(f"error: {tmp_path}/output: no space is left, .* are free", told)
    assert rest[-1].startswith("hint: make room, for example with `build.py clean`")


@pytest.fixture
def clean(build_py: CommandLine) -> Callable[..., Answer]:
    """Run `build.py clean`."""
    return partial(build_py.there, "clean")


@pytest.mark.parametrize("store_too", [False, True])
def test_clean_removes_results_and_the_store_if_asked(
    clean: Callable[..., Answer], tmp_path: Path, *, store_too: bool
) -> None:
    make_result(tmp_path / "output/Pynq-Z2")
    store = Store(tmp_path / "store")
    with store.building("k"):
        store.draft("k")
        store.commit("k", step="s", components={}, seconds=0)
    answer = clean("--yes", *(["--store-too"] if store_too else []))
    assert answer.status == 0
    assert ("all entries of the store" in answer.output) is store_too
    assert not (tmp_path / "output").exists()
    assert (Store(tmp_path / "store").get("k") is None) is store_too


def test_clean_removes_nothing_that_no_build_made(
    clean: Callable[..., Answer], tmp_path: Path
) -> None:
    output, outside = tmp_path / "output", tmp_path / "outside"
    make_result(output / "Pynq-Z2")
    make_result(output / "customized/new")
    make_result(outside)
    (output / "thesis").mkdir()
    (output / "thesis/chapter").write_text("years of work")
    (output / "PYNQ-Z1").mkdir()
    (output / "PYNQ-Z1/manifest.json").write_text("{}")
    (output / "notes").write_text("a plan")
    (output / "elsewhere").symlink_to(outside)
    (output / "tools-image.log").symlink_to(outside / ".made-by-build")
    answer = clean("--yes")
    assert answer.status == 0
    assert sorted(path.name for path in output.iterdir()) == [
        *("PYNQ-Z1", "elsewhere", "notes", "thesis", "tools-image.log")
    ]
    assert (output / "thesis/chapter").read_text() == "years of work"
    assert any(outside.iterdir())
    assert (
        "not made by a build, not removed: PYNQ-Z1, elsewhere, notes, thesis, tools-image.log"
        in answer.output
    )


@pytest.mark.parametrize(("other", "goes"), [("Pynq-Z2.img", True), ("thesis.tex", False)])
def test_clean_knows_results_of_earlier_builds_by_their_manifest(
    clean: Callable[..., Answer], tmp_path: Path, other: str, *, goes: bool
) -> None:
    folder = tmp_path / "output/Pynq-Z2"
    (folder / "logs").mkdir(parents=True)
    manifest = {"board": "Pynq-Z2", "image": {"sha256": "0123"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / other).write_text("")
    assert clean("--yes").status == 0
    assert folder.exists() is not goes


def test_an_existing_directory_is_not_marked_as_a_result(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("years of work")
    make_result(tmp_path)
    assert not is_result(tmp_path)


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (
            None,
            2,
            "error: cannot ask for confirmation: standard input is no terminal\nhint: add --yes\n",
        ),
        ("no", 130, "error: nothing was removed\n"),
        ("yes", 0, ""),
    ],
)
def test_clean_asks_before_it_removes(
    clean: Callable[..., Answer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str | None,
    *,
    status: int,
    error: str,
) -> None:
    folder = tmp_path / "output/Pynq-Z2"
    make_result(folder)
    monkeypatch.setattr("sys.stdin.isatty", lambda: answer is not None, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    said = clean()
    assert (said.status, said.errors) == (status, error)
    assert os.path.relpath(folder) in said.output
    assert folder.exists() is (status != 0)


def test_clean_says_that_there_is_nothing_to_remove(
    clean: Callable[..., Answer], tmp_path: Path
) -> None:
    answer = clean()
    assert (answer.status, answer.errors) == (0, "")
    assert answer.output.startswith("nothing to remove in ")


def test_schemas_writes_all_of_them(build_py: CommandLine, tmp_path: Path) -> None:
    assert build_py.there("schemas", str(tmp_path / "docs")).status == 0
    names = {path.name for path in (tmp_path / "docs/schemas").iterdir()}
    assert names == {f"{kind}.schema.json" for kind in KINDS}
    assert all(json.loads(path.read_text()) for path in (tmp_path / "docs/schemas").iterdir())
    assert (tmp_path / "docs/reference.md").exists()


def test_interrupting_is_exit_code_130(
    build_py: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("builder.cli.boards.boards", interrupt)
    answer = build_py("boards")
    assert (answer.status, answer.errors) == (130, "interrupted\n")


@pytest.mark.parametrize(
    "words",
    [
        ["boards"],
        ["recipes"],
        ["dump", "--board", "Pynq-Z2"],
        ["completion", "zsh"],
        ["dump", "--json", "--board", "Pynq-Z2"],
    ],
)
def test_output_that_nobody_reads_ends_quietly(words: list[str]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    try:
        done = subprocess.run(
            [sys.executable, str(ROOT / "build.py"), *words],
            stdout=writes,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writes)
    assert (done.returncode, done.stderr) == (141, "")


# build.py itself


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A copy of build.py where nothing has been set up."""
    return Path(shutil.copy(ROOT / "build.py", tmp_path))


SYSTEM_PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")


@pytest.mark.skipif(SYSTEM_PYTHON is None, reason="no python3 outside of virtual environments")
def test_before_set_up_it_says_what_to_type(alone: Path) -> None:
    assert SYSTEM_PYTHON
    done = subprocess.run(
        [SYSTEM_PYTHON, "-I", str(alone), "--board", "Pynq-Z2"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode != 0
    assert f"make -C {alone.parent} setup" in done.stderr
    assert "Traceback" not in done.stderr


def test_before_set_up_the_machine_lacks_something(alone: Path) -> None:
    done = subprocess.run(
        [SYSTEM_PYTHON or sys.executable, "-I", str(alone), "boards"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 4


def test_it_hands_over_to_the_virtual_environment(alone: Path) -> None:
    python = alone.parent / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        [SYSTEM_PYTHON or sys.executable, "-I", str(alone), "--set", "a.b=c d"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{alone} --set a.b=c d\n"


def test_commands_are_shown_as_they_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert typed("flash", "a b.img") == "./build.py flash 'a b.img'"
    for place in (ROOT / "boards", tmp_path):
        monkeypatch.chdir(place)
        program, *words = shlex.split(typed("boards"))
        assert "/" in program
        assert Path(program).resolve() == ROOT / "build.py"
        assert words == ["boards"]


@pytest.mark.parametrize(
    ("target", "engine"),
    [
        *((target, "docker") for target in ("setup", "image")),
        *((target, "host") for target in ("test", "acceptance", "unit", "lint", "bench")),
    ],
)
def test_make_sets_up_for_the_engine_that_is_asked_for(target: str, engine: str) -> None:
    done = subprocess.run(
        ["make", "-n", "ENGINE=docker", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line for line in done.stdout.splitlines() if "setup.sh" in line]
    assert found == [f"sh scripts/setup.sh {engine}"]


def test_every_python_3_can_read_it() -> None:
    compile((ROOT / "build.py").read_text(), "build.py", "exec", dont_inherit=True)
    text = (ROOT / "build.py").read_text()
    before = text.partition("def main")[0]
    assert set(re.findall(r"^(?:import|from) (\w+)", before, re.MULTILINE)) <= {
        "gc",
        "os",
        "sys",
        "pathlib",
    }


def test_a_failed_step_is_reported_with_the_exit_code_of_its_cause() -> None:
    assert StepFailure.exit_code == 3
