# SPDX-License-Identifier: MIT
"""Checks that a board runs on itself: what the image holds, the command, and the comparison."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from builder.boot_test.selftest import differences, run_selftest
from builder.errors import StepError
from builder.rootfs.target_tests import DIRECTORY, ChecksLayer
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PlainWorkspace
from builder.spec.reader import SpecTree
from builder.spec.resolve import ImageSpec
from builder.steps.layer_archive import LAYER
from builder.steps.step import Job, Tools
from builder.store.store import Store
from builder.target_tests.context import MODULES, check_files, context, without_secrets
from builder.target_tests.session import ENVIRONMENT, Selection, variable, words
from tests.fixtures.specs import Files

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ROOT / "recipes/selftest/files/board_selftest.py"

PASSES = '''
def test_passes(board, parameters, ports):
    """Label of one.

    And more.
    """
    assert (board.name, board.memory, board.emulated) == ("B", 512 << 20, False)
    assert parameters["a"]["port"] == 80
    assert ports == {22: 22, 80: 80}
'''
PLACES = """
import pytest

@pytest.mark.only("outside", "they meet it there")
def test_outside(host, ports):
    assert ports != {22: 22, 80: 80}

@pytest.mark.only("emulated", "QEMU has it")
def test_emulated():
    assert False

@pytest.mark.only("hardware", "QEMU has it not")
def test_hardware(host):
    pass

@pytest.mark.only("board", "others cannot see it")
@pytest.mark.parametrize("number", [1, 2])
def test_board(host, number):
    assert host.check_output("echo $LANG") == "C.UTF-8"
"""
FIXTURES = """
import pytest

@pytest.fixture(params=["program", "notebook"])
def ran(host, request):
    return request.param

def test_ran(ran):
    pass

@pytest.mark.parametrize("number", [1, 2])
def test_both(ran, number):
    pass

@pytest.mark.parametrize("name", ["local", "local-host"])
def test_another_host(host, name):
    pass
"""
SECRETS = """
def test_secret(parameters):
    assert parameters["a"]["password"] == "open sesame"

def test_empty(parameters):
    assert parameters["a"]["root-password"] == ""
"""
ALL = Selection()
RECIPE = """\
checks: true
parameters:
  port: {default: 80, summary: a port}
  password: {default: sesame, summary: a password, secret: true}
  root-password: {default: "", summary: another, secret: true}
"""


def layer(spec: ImageSpec) -> ChecksLayer:
    known = without_secrets(context(spec, "one"))
    return ChecksLayer(check_files(spec), known, modules=MODULES, epoch=1_700_000_000, scope="B")


class SmallBoard:
    """Board B with recipe `a`, both with checks, and the two ways to run them."""

    def __init__(self, folder: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.processes = processes
        self.monkeypatch = monkeypatch
        self.command = board_command(monkeypatch)
        self.files = Files(folder / "tree")
        self.files.recipe("a", RECIPE)
        self.files.write("recipes/a/test_one.py", PASSES)
        self.files.write("recipes/a/helper.py", "")
        self.files.write("boards/B/tests/test_places.py", PLACES)
        self.files.write("boards/B/tests/__pycache__/test_places.pyc", "")
        self._image: Path | None = None

    def image(self) -> Path:
        """Make the tree of an image with nothing but its checks; return their directory."""
        output, tree = self.folder / "output", self.folder / "image"
        output.mkdir()
        job = Job(
            inputs={},
            output=output,
            log=io.StringIO(),
            store=Store(self.folder / "store"),
            tools=cast(Tools, SimpleNamespace(processes=self.processes, workspace=self._room)),
            on_line=lambda _: None,
        )
        layer(self.files.resolve()).run(job)
        tree.mkdir()
        unpack = ["tar", "--extract", "--use-compress-program=zstd -d", "--no-same-owner"]
        subprocess.run([*unpack, "--directory", tree, "--file", output / LAYER], check=True)
        return tree / DIRECTORY

    def _room(self, name: str, *, need: int, network: bool = False) -> PlainWorkspace:
        del name, need
        assert not network
        folder = self.folder / "work"
        folder.mkdir()
        return PlainWorkspace(folder, processes=self.processes)

    def start(self, *options: str) -> int:
        """Run the command and return its status."""
        if self._image is None:
            self._image = self.image()
        self.monkeypatch.setattr(self.command, "HOME", self._image)
        self.monkeypatch.setattr("sys.argv", ["board-selftest", *options])
        status: int = self.command.main()
        return status

    def run(self, *options: str) -> tuple[int, Any]:
        """Run the command; return its status and its report."""
        report = self.folder / "report.json"
        status = self.start("--json", str(report), *options)
        return status, json.loads(report.read_text())

    def look(self, selection: Selection = ALL) -> Any:
        """Run the checks from outside, against a board that a stand-in for ssh is; the report."""
        stand_in(self.folder, self.monkeypatch, 'exec sh -c "$last"\n')
        spec = self.files.resolve()
        known = {
            **context(spec, "one"),
            "checks": {name: str(path) for name, path in check_files(spec).items()},
            "emulated": False,
            "ports": {22: 2022, 80: 2080},
            "shell": ["ssh", "root@127.0.0.1"],
        }
        file, report = self.folder / "context.json", self.folder / "outside.json"
        file.write_text(json.dumps(known))
        subprocess.run(
            [sys.executable, *words(file, report, root=self.files.root, selection=selection)],
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
            check=True,
        )
        return json.loads(report.read_text())


def board_command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the command, on a board that is not emulated, for root."""
    spec = importlib.util.spec_from_file_location("board_selftest", COMMAND)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(ROOT)
    spec.loader.exec_module(module)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return module


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put a program in the place of ssh, whose last word is what the board's shell would get."""
    program = folder / "bin/ssh"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nfor last; do :; done\n{text}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@contextmanager
def new_small_board(folder: Path) -> Iterator[SmallBoard]:
    processes = Processes()
    with pytest.MonkeyPatch.context() as monkeypatch:
        try:
            yield SmallBoard(folder, processes, monkeypatch)
        finally:
            processes.stop()


@pytest.fixture
def small_board(tmp_path: Path) -> Iterator[SmallBoard]:
    with new_small_board(tmp_path) as made:
        yield made


@pytest.fixture
def files(small_board: SmallBoard) -> Files:
    return small_board.files


# What an image holds


def test_checks_have_the_names_of_their_recipes_and_boards(files: Files) -> None:
    files.variant("extends: B\nsummary: v\nrecipes: [own]\n", folder="elsewhere")
    files.write("elsewhere/V/recipes/own/recipe.yaml", "summary: own\n")
    own = files.write("elsewhere/V/recipes/own/test_own.py", "")
    tests = files.write("elsewhere/V/tests/test_v.py", "").parent
    files.tree = SpecTree(root=files.root, boards_dirs=(files.root / "elsewhere",))
    assert list(check_files(files.resolve(board="V")).items()) == [
        ("recipes/a/test_one.py", files.root / "recipes/a/test_one.py"),
        ("recipes/own/test_own.py", own),
        ("boards/B/tests", files.root / "boards/B/tests"),
        ("boards/V/tests", tests),
    ]


def test_an_image_holds_its_checks_and_what_runs_them(small_board: SmallBoard) -> None:
    folder = small_board.image()
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {
        "boards/B/tests/test_places.py",
        "builder/target_tests/commands.py",
        "builder/target_tests/memory.py",
        "builder/target_tests/plugin.py",
        "builder/target_tests/server.py",
        "builder/target_tests/session.py",
        "context.json",
        "recipes/a/test_one.py",
    }
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
        assert path.stat().st_mtime == 1_700_000_000


def test_secrets_are_not_among_it(small_board: SmallBoard) -> None:
    text = (small_board.image() / "context.json").read_text()
    assert "sesame" not in text
    known = json.loads(text)
    assert known["parameters"]["a"] == {"port": 80, "root-password": ""}
    assert known["secrets"] == {"a": ["password", "root-password"]}


# The command on the board


def outcomes(report: Any) -> dict[str, str]:
    return {check["check"]: check["outcome"] for check in report["checks"]}


def test_checks_run_where_they_belong(
    small_board: SmallBoard, capfd: pytest.CaptureFixture[str]
) -> None:
    status, report = small_board.run()
    assert status == 0
    assert outcomes(report) == {
        "recipes/a/test_one.py::test_passes": "passed",
        "boards/B/tests/test_places.py::test_outside": "skipped",
        "boards/B/tests/test_places.py::test_emulated": "skipped",
        "boards/B/tests/test_places.py::test_hardware": "passed",
        "boards/B/tests/test_places.py::test_board[1]": "passed",
        "boards/B/tests/test_places.py::test_board[2]": "passed",
    }
    assert (report["passed"], report["failed"], report["skipped"]) == (4, 0, 2)
    first, outside, *_ = report["checks"]
    assert first["label"] == "Label of one."
    assert outside["only"] == "outside"
    assert outside["why"] == "only from another machine: they meet it there"
    said = capfd.readouterr().out
    assert "not run: test_outside (only from another machine: they meet it there)" in said
    assert "not run: test_emulated (only on an emulated board: QEMU has it)" in said
    assert said.endswith("B, one: 4 passed, 0 failed, 2 skipped\n")


LABELS = """
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_said(host, number):
    '''It counts.'''

def test_once(host):
    '''Once.'''

@pytest.mark.parametrize("words", ["a::b"])
def test_not_said(words):
    pass

@pytest.mark.parametrize("words", ["a[0]"])
def test_alone(words):
    '''
    It is alone.

    More.
    '''
"""
LONG = """
import time
import pytest

@pytest.fixture
def slow():
    time.sleep(0.3)
    yield
    time.sleep(0.3)

@pytest.mark.long("an emulated board takes a minute")
def test_long(host):
    pass

def test_short(host, slow):
    pass
"""
AGAIN = """
def test_late(until, tmp_path_factory):
    file = str(tmp_path_factory.mktemp("tries") / "tries")
    tries = 'echo >> %s; test $(wc -l < %s) = 2 && echo late'
    assert until(tries, file, file) == "late"

def test_never(until):
    until("echo said; false", seconds=0)
"""
LOGINS = """
def test_logins(host):
    found = host.check_output('echo $XILINX_XRT, $QUOTED, $OWNER, $LANG')
    assert found == "/usr, two words, Zoe's, C.UTF-8"
"""
OF_LOGINS = """\
# for PYNQ
XILINX_XRT=/usr
export QUOTED='two words'

OWNER=Zoe's
LANG=xx
"""


Checks = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Checks:
    """The checks of one run of the command, as reported, by the name of their file.

    Several tests look at it: starting pytest takes longer than their checks.
    """
    folder = tmp_path_factory.mktemp("shared")
    with new_small_board(folder) as small_board:
        settings = folder / "environment"
        settings.write_text(OF_LOGINS)
        small_board.monkeypatch.setattr(small_board.command, "OF_LOGINS", settings)
        for name, text in {
            "labels": LABELS,
            "long": LONG,
            "again": AGAIN,
            "secrets": SECRETS,
            "logins": LOGINS,
            "unknown": "def test_unknown(parameters):\n    parameters['a']['x']\n",
        }.items():
            small_board.files.write(f"recipes/a/test_{name}.py", text)
        status, report = small_board.run()
    assert status == 1
    assert (report["quick"], report["expression"], report["deselected"]) == (False, None, 0)
    found: Checks = {}
    for check in report["checks"]:
        found.setdefault(PurePath(check["check"].partition("::")[0]).name, []).append(check)
    return found


def test_labels_tell_which_parameters_a_check_had(shared_run: Checks) -> None:
    assert [check["label"] for check in shared_run["test_labels.py"]] == [
        "It counts. [1]",
        "It counts. [2]",
        "Once.",
        "test_not_said[a::b]",
        "It is alone. [a[0]]",
    ]


def test_without_quick_nothing_is_left_out(shared_run: Checks) -> None:
    names = [check["check"] for check in shared_run["test_long.py"]]
    assert names == ["recipes/a/test_long.py::test_long", "recipes/a/test_long.py::test_short"]


def test_quick_leaves_out_what_takes_long(small_board: SmallBoard) -> None:
    small_board.files.write("recipes/a/test_one.py", LONG)
    names = {"recipes/a/test_one.py::test_long", "recipes/a/test_one.py::test_short"}
    status, own = small_board.run("--quick")
    outside = small_board.look(Selection(quick=True))
    assert status == 0
    for report in (own, outside):
        assert names & outcomes(report).keys() == {"recipes/a/test_one.py::test_short"}
        assert (report["quick"], report["expression"], report["deselected"]) == (True, None, 1)
    assert differences(outside, own) == []


def test_what_fixtures_take_counts(shared_run: Checks) -> None:
    _, short = shared_run["test_long.py"]
    assert short["seconds"] >= 0.6


def test_a_mark_without_a_reason_is_an_error(
    small_board: SmallBoard, capfd: pytest.CaptureFixture[str]
) -> None:
    small_board.files.write(
        "recipes/a/test_one.py", LONG.replace('("an emulated board takes a minute")', "")
    )
    assert small_board.start() == 1
    assert "test_one.py::test_long: long(WHY)" in capfd.readouterr().err


def test_every_check_has_a_time_limit_and_is_named_before_it_ends(
    small_board: SmallBoard, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = "def test_hangs(host):\n    host.run('sleep 60')\ndef test_next(host):\n    pass\n"
    small_board.files.write("recipes/a/test_one.py", hanging)
    monkeypatch.setattr("builder.target_tests.session.LIMIT", 1)
    status, report = small_board.run("-k", "test_one")
    assert status == 1
    assert outcomes(report) == {
        "recipes/a/test_one.py::test_hangs": "failed",
        "recipes/a/test_one.py::test_next": "passed",
    }
    assert "Timeout (>1" in report["checks"][0]["why"]
    assert "test_one.py::test_hangs FAILED" in capfd.readouterr().out


def test_a_check_that_fails_is_told_and_ends_with_1(small_board: SmallBoard) -> None:
    small_board.files.write("recipes/a/test_one.py", "def test_fails(host):\n    assert 1 == 2\n")
    status, report = small_board.run("-k", "test_fails")
    assert status == 1
    assert (report["passed"], report["failed"], report["skipped"]) == (0, 1, 0)
    assert "assert 1 == 2" in report["checks"][0]["why"]


def test_what_fails_when_a_check_is_over_counts_as_failed_once(small_board: SmallBoard) -> None:
    text = "import pytest\n@pytest.fixture\ndef late():\n    yield\n    assert False\n"
    small_board.files.write("recipes/a/test_one.py", text + "def test_late(late):\n    pass\n")
    status, report = small_board.run("-k", "test_late")
    assert status == 1
    assert outcomes(report) == {"recipes/a/test_one.py::test_late": "failed"}


def test_a_command_is_tried_again_until_it_succeeds(shared_run: Checks) -> None:
    late, never = shared_run["test_again.py"]
    assert (late["outcome"], never["outcome"]) == ("passed", "failed")
    assert "not within 0 s: echo said; false: said" in never["why"]


def test_checks_that_need_a_secret_are_skipped_without_it(shared_run: Checks) -> None:
    secret, empty = shared_run["test_secrets.py"]
    assert (secret["outcome"], empty["outcome"]) == ("skipped", "passed")
    assert secret["why"].endswith("PARAM_A_PASSWORD")


def test_secrets_come_from_the_callers_environment(
    small_board: SmallBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_board.files.write("recipes/a/test_one.py", SECRETS)
    monkeypatch.setenv("PARAM_A_PASSWORD", "open sesame")
    _, report = small_board.run("-k", "test_one")
    assert [*outcomes(report).values()] == ["passed", "passed"]


def test_checks_find_around_them_what_logins_find(shared_run: Checks) -> None:
    """PYNQ finds its device by a variable that is set for logins; whoever calls, it is there."""
    assert [check["outcome"] for check in shared_run["test_logins.py"]] == ["passed"]


def test_an_unknown_parameter_is_a_mistake_of_the_check(shared_run: Checks) -> None:
    (check,) = shared_run["test_unknown.py"]
    assert check["outcome"] == "failed"
    assert "KeyError: 'x'" in check["why"]


def test_a_place_that_there_is_not_is_an_error(small_board: SmallBoard) -> None:
    text = "import pytest\n@pytest.mark.only('moon', 'far')\ndef test_one():\n    pass\n"
    small_board.files.write("recipes/a/test_one.py", text)
    status, report = small_board.run()
    assert status == 1
    assert report["checks"] == []


def test_checks_of_recipes_that_the_image_lacks_are_not_its_own(small_board: SmallBoard) -> None:
    text = """
import pytest

@pytest.mark.needs("a")
def test_of_one():
    pass

@pytest.mark.needs("a", "another")
def test_of_both():
    assert False
"""
    small_board.files.write("recipes/a/test_one.py", text)
    _, report = small_board.run()
    names = [check["check"].partition("::")[2] for check in report["checks"]]
    assert "test_of_one" in names
    assert "test_of_both" not in names
    assert report["deselected"] == 0, "nobody left it out"


def test_no_check_of_a_name_is_no_success(
    small_board: SmallBoard, capfd: pytest.CaptureFixture[str]
) -> None:
    status, report = small_board.run("-k", "no_such_check")
    assert status == 1
    assert report["checks"] == []
    assert "no check has such a name" in capfd.readouterr().err


def test_json_has_the_standard_output_for_itself(
    small_board: SmallBoard, capfd: pytest.CaptureFixture[str]
) -> None:
    assert small_board.start("--json", "-") == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out)["board"] == "B"
    assert "4 passed, 0 failed, 2 skipped" in captured.err


@pytest.mark.parametrize(
    ("root", "options", "message"),
    [
        (False, [], "sudo board-selftest"),
        (True, ["--json", "/no/such/file"], "--json /no/such/file: there is no such directory"),
        (True, ["--xml"], "unrecognized arguments: --xml"),
    ],
)
def test_a_call_that_cannot_succeed_ends_with_2_at_once(
    small_board: SmallBoard,
    capsys: pytest.CaptureFixture[str],
    *,
    root: bool,
    options: list[str],
    message: str,
) -> None:
    small_board.monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    small_board.monkeypatch.setattr("sys.argv", ["board-selftest", *options])
    with pytest.raises(SystemExit) as ended:
        small_board.command.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


# From outside


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The reports of the same checks from outside and on the board."""
    with new_small_board(tmp_path_factory.mktemp("both")) as small_board:
        small_board.files.write("recipes/a/test_two.py", FIXTURES)
        _, own = small_board.run()
        text = PASSES.replace("22: 22, 80: 80", "22: 2022, 80: 2080")
        small_board.files.write("recipes/a/test_one.py", text)
        return small_board.look(), own


def test_the_same_is_found_from_outside(both_ways: tuple[Any, Any]) -> None:
    found, own = both_ways
    assert [*outcomes(found)] == [*outcomes(own)]
    assert outcomes(found)["boards/B/tests/test_places.py::test_outside"] == "passed"
    assert outcomes(found)["boards/B/tests/test_places.py::test_board[1]"] == "skipped"
    assert differences(found, own) == []


def test_a_name_does_not_tell_how_the_board_was_reached(both_ways: tuple[Any, Any]) -> None:
    names = {
        *("test_ran[program]", "test_ran[notebook]"),
        *("test_both[program-1]", "test_both[program-2]"),
        *("test_both[notebook-1]", "test_both[notebook-2]"),
        *("test_another_host[local]", "test_another_host[local-host]"),
    }
    for report in both_ways:
        file = "recipes/a/test_two.py::"
        found = {name for name in outcomes(report) if name.startswith(file)}
        assert {name.removeprefix(file) for name in found} == names


def checked(**outcomes: Any) -> dict[str, Any]:
    """Return a report: a check's outcome, or its outcome and where it belongs alone."""
    checks = []
    for name, outcome in outcomes.items():
        what, only = outcome if isinstance(outcome, tuple) else (outcome, None)
        why = {"why": f"of {name}"} if what != "passed" else {}
        checks.append({"check": name, "outcome": what, **why, **({"only": only} if only else {})})
    return {"checks": checks}


@pytest.mark.parametrize(
    ("outside", "board", "found"),
    [
        ({"a": "passed", "b": "failed"}, {"b": "failed", "a": "passed"}, []),
        ({"a": "passed"}, {"a": ("skipped", "outside")}, []),
        ({"a": ("skipped", "board")}, {"a": "passed"}, []),
        ({"a": ("skipped", "hardware")}, {"a": ("skipped", "hardware")}, []),
        (
            {"a": "passed"},
            {"a": ("skipped", "hardware")},
            ["a: passed from outside, skipped on the board. of a"],
        ),
        ({"a": "passed"}, {"a": "skipped"}, ["a: passed from outside, skipped on the board. of a"]),
        ({"a": "passed"}, {"a": "failed"}, ["a: passed from outside, failed on the board. of a"]),
        ({"a": "failed"}, {"a": "passed"}, ["a: failed from outside, passed on the board. of a"]),
        ({"a": "passed"}, {}, ["a: passed from outside, not run on the board. "]),
        ({}, {"a": "passed"}, ["a: not run from outside, passed on the board. "]),
    ],
)
def test_reports_are_the_same_but_for_what_belongs_to_one_place(
    outside: dict[str, Any], board: dict[str, Any], found: list[str]
) -> None:
    assert differences(checked(**outside), checked(**board)) == found


@pytest.fixture
def ask(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Asks a board that a stand-in for ssh is."""

    def call(answer: str, status: int) -> dict[str, Any]:
        (tmp_path / "answer").write_text(answer)
        text = f'echo "$*" > {tmp_path}/asked\nexec sh -c "$last"\n'
        stand_in(tmp_path, monkeypatch, text)
        board = tmp_path / "bin/board-selftest"
        board.write_text(
            f'#!/bin/sh\nprintf "%s|" "$@" "$PARAM_A_PASSWORD" "$PARAM_A_ROOT_PASSWORD" '
            f"> {tmp_path}/given\ncat - {tmp_path}/answer\nexit {status}\n"
        )
        board.chmod(0o755)
        selection = Selection("x and y", quick=True)
        return run_selftest(files.resolve(), ["ssh", "root@127.0.0.1"], selection=selection)

    return call


def test_the_board_is_given_the_secrets_and_the_selection(
    ask: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    assert ask('{"failed": 0, "checks": [1]}', 0) == {"failed": 0, "checks": [1]}
    assert (tmp_path / "given").read_text() == "--json|-|-k|x and y|--quick|sesame||"
    assert "sesame" not in (tmp_path / "asked").read_text(), "anybody may see a command line"


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        ("sh: 1: board-selftest: not found", 127, r"printed no report \(status 127\)"),
        ('{"failed": 1, "checks": [1]}', 0, "ended with status 0, .* 1 of 1 checks failed"),
        ('{"failed": 0, "checks": [1]}', 1, "ended with status 1, .* 0 of 1 checks failed"),
        ('{"failed": 0, "checks": []}', 0, "ended with status 0, .* 0 of 0 checks failed"),
    ],
)
def test_a_board_that_gives_no_honest_report(
    ask: Callable[..., dict[str, Any]], answer: str, status: int, message: str
) -> None:
    with pytest.raises(StepError, match=message):
        ask(answer, status)


def test_a_variable_is_what_a_shell_takes() -> None:
    assert variable("my-recipe", "root-password") == "PARAM_MY_RECIPE_ROOT_PASSWORD"
