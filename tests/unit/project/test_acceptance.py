# SPDX-License-Identifier: MIT
"""Parts of the acceptance, their record, and how an interrupted run goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import __main__ as acceptance
from tests.acceptance import record as records
from tests.acceptance.parts import LONGEST, Part, read_parts
from tests.acceptance.record import Run, read_record, table, verdict, with_table
from tests.fixtures.product import ROOT

PARTS = read_parts()
TESTED_ANYHOW = ("unit", "fuzz", "programs", "lint", "image", "boot")
"""Directories of tests that `make test` runs."""


def part(**given: Any) -> Part:
    return Part(**{"name": "a", "summary": "A", "tests": (), "covers": (), **given})


def whole_run(**given: Any) -> Run:
    values = {"date": "2026-11-30", "commit": "abc", "digest": "d", "result": "passed"}
    return Run(**{**values, "tests": 3, "seconds": 600, **given})


# The parts


def test_every_test_belongs_to_a_part_or_to_make_test() -> None:
    named = [ROOT / word for each in PARTS.values() for word in each.tests]
    forgotten = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.relative_to(ROOT / "tests").parts[0] not in TESTED_ANYHOW
        and not any(path == name or name in path.parents for name in named)
    ]
    assert not forgotten


@pytest.mark.parametrize("name", PARTS)
def test_what_a_part_names_is_there(name: str) -> None:
    assert not [path for path in PARTS[name].covers if not (ROOT / path).exists()]


def test_every_board_has_all_of_its_checks_run() -> None:
    boards = {path.parent.name for path in ROOT.glob("boards/*/board.yaml")}
    checked = {
        each.tests[each.tests.index("--board") + 1]
        for each in PARTS.values()
        if "--all-checks" in each.tests
    }
    assert checked == boards


def test_a_parts_digest_follows_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.acceptance.parts.ROOT", tmp_path)
    for name in ("covered/one", "covered/two", "other"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    covering = part(covers=("covered",))
    digests = [covering.digest()]
    (tmp_path / "other").write_text("changed")
    assert covering.digest() == digests[0]
    (tmp_path / "covered/one").write_text("changed")
    digests.append(covering.digest())
    (tmp_path / "covered/two").unlink()
    digests.append(covering.digest())
    assert len({*digests}) == 3


# The record


def test_the_status_page_shows_the_record() -> None:
    page = records.PAGE.read_text()
    assert with_table(page, table(PARTS, read_record())) == page


def test_every_part_takes_less_than_an_hour() -> None:
    assert not [name for name, run in read_record().items() if run.seconds > LONGEST]


def test_the_record_names_parts_that_there_are() -> None:
    assert read_record().keys() <= PARTS.keys()


@pytest.mark.parametrize(
    ("run", "counts", "said"),
    [
        (None, False, "never run"),
        (whole_run(), True, "passed (2026-11-30 at abc, 10 min)"),
        (whole_run(digest="e"), False, "but what it covers has changed"),
        (whole_run(result="failed", problems=("test_x failed",)), False, "test_x failed"),
        (whole_run(result="incomplete", problems=("test_x skipped (no y)",)), False, "no y"),
    ],
)
def test_a_run_counts_if_it_passed_on_the_present_files(
    monkeypatch: pytest.MonkeyPatch, run: Run | None, *, counts: bool, said: str
) -> None:
    monkeypatch.setattr(Part, "digest", lambda _: "d")
    found = verdict(part(), run)
    assert found[0] == counts
    assert said in found[1]


def test_a_run_is_kept_with_those_of_other_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(records, "PAGE", tmp_path / "status.md")
    monkeypatch.setattr(records, "WORK", tmp_path / "work")
    records.PAGE.write_text(f"before\n{records.BEGIN}\n{records.END}\nafter\n")
    parts = {name: part(name=name, summary=name.upper()) for name in ("a", "b", "c")}
    records.keep(parts["b"], whole_run(), parts)
    records.keep(parts["a"], whole_run(result="failed", problems=("x failed",)), parts)
    assert records.read_record() == {
        "a": whole_run(result="failed", problems=("x failed",)),
        "b": whole_run(),
    }
    assert records.PAGE.read_text().splitlines() == [
        "before",
        records.BEGIN,
        "| part | tests | last run | commit | result | minutes |",
        "|---|---|---|---|---|---|",
        "| `a` | A | 2026-11-30 | `abc` | failed, 3 tests: x failed | 10 |",
        "| `b` | B | 2026-11-30 | `abc` | passed, 3 tests | 10 |",
        "| `c` | C | never |  |  |  |",
        records.END,
        "after",
    ]


# A run


TESTS = """
import os, pathlib, pytest

HERE = pathlib.Path(__file__).parent

def ran(name):
    with (HERE / "ran").open("a") as file:
        file.write(name + " ")

def test_one():
    ran("one")

def test_two():
    ran("two")
    if (HERE / "kill").exists():
        os._exit(9)

def test_three():
    ran("three")
    assert not (HERE / "fail").exists()

@pytest.mark.skip("no tool")
def test_four():
    pass
"""


def start(folder: Path) -> tuple[int, dict[str, Any]]:
    """Run the tests in a directory with the plugin; return pytest's status and the outcomes."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(folder)),
            *("-p", "tests.acceptance.progress", "--progress", str(folder / "progress.json")),
            *("-p", "no:cacheprovider", str(folder / "test_it.py")),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    tests = json.loads((folder / "progress.json").read_text())
    return done.returncode, {name.rpartition("::")[2]: test for name, test in tests.items()}


def test_an_interrupted_run_goes_on_with_what_it_has_not_done(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "kill").touch()
    status, tests = start(tmp_path)
    assert status == 9
    assert {name: test["outcome"] for name, test in tests.items()} == {"test_one": "passed"}
    (tmp_path / "kill").unlink()
    (tmp_path / "fail").touch()
    status, tests = start(tmp_path)
    assert status == 1
    assert {name: test["outcome"] for name, test in tests.items()} == {
        "test_one": "passed",
        "test_two": "passed",
        "test_three": "failed",
        "test_four": "skipped",
    }
    (tmp_path / "fail").unlink()
    status, tests = start(tmp_path)
    assert status == 0
    assert tests["test_three"]["outcome"] == "passed"
    assert tests["test_four"]["why"] == "no tool"
    assert (tmp_path / "ran").read_text().split() == ["one", "two", "two", "three", "three"]


@pytest.mark.parametrize(
    ("outcomes", "result", "problems"),
    [
        (["passed", "passed"], "passed", ()),
        (["passed", "skipped"], "incomplete", ("test_1 skipped (no tool)",)),
        (["failed", "skipped"], "failed", ("test_0 failed", "test_1 skipped (no tool)")),
    ],
)
def test_a_skipped_test_makes_a_run_incomplete(
    outcomes: list[str], result: str, problems: tuple[str, ...]
) -> None:
    tests = {
        f"tests/x.py::test_{number}": {"outcome": outcome, "seconds": 1.4, "why": "no tool"}
        for number, outcome in enumerate(outcomes)
    }
    found = acceptance.summary(tests, digest="d", commit="abc")
    assert (found.result, found.problems, found.seconds) == (result, problems, 3)


def test_parts_begin_with_another_one_each_time() -> None:
    parts = [part(name=name) for name in "abc"]
    order = ["".join(each.name for each in acceptance.in_turn(parts, turn)) for turn in range(4)]
    assert order == ["abc", "bca", "cab", "abc"]
    assert acceptance.in_turn([], 5) == []


def test_parts_run_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "LONGEST", 400)
    done: list[str] = []

    def run(part: Part, _: object) -> str:
        done.append(part.name)
        return "passed"

    monkeypatch.setattr(acceptance, "run", run)
    monkeypatch.setattr(
        acceptance, "read_record", lambda: {"a": whole_run(seconds=600), "b": whole_run(seconds=60)}
    )
    parts = [part(name=name) for name in "abc"]
    assert acceptance.run_within(parts, {}, 300) == 0
    assert done == ["b"], "a takes longer, and nobody knows of c"
    assert acceptance.run_within(parts, {}, -300) == 0
    assert done == ["b"]


@pytest.mark.parametrize(
    ("result", "alone", "in_time"),
    [("passed", 0, 0), ("incomplete", 1, 0), ("failed", 1, 1), ("unfinished", 1, 1)],
)
def test_a_part_that_did_not_pass_is_no_success(
    monkeypatch: pytest.MonkeyPatch, result: str, alone: int, in_time: int
) -> None:
    """Within a time a machine that lacks something is none of the tree's faults."""
    monkeypatch.setattr(acceptance, "run", lambda *_: result)
    monkeypatch.setattr(acceptance, "read_record", lambda: {"native": whole_run()})
    assert acceptance.main(["run", "native"]) == alone
    assert acceptance.main(["run", "native", "--minutes", "60"]) == in_time


def test_every_commit_has_a_turn_of_its_own() -> None:
    assert acceptance.turn() >= 0


def test_a_part_covers_what_its_tests_import() -> None:
    covered = {str(path.relative_to(ROOT)) for path in PARTS["petalinux-cards"].files()}
    assert {
        "builder/spec/models.py",
        "tests/docker/test_petalinux.py",
        "tests/docker/vendor.py",
        "tests/fixtures/product.py",
        "tests/fixtures/petalinux_fixtures.py",
    } <= covered
    assert "tests/acceptance/test_native.py" not in covered


def test_a_part_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        acceptance.main(["run", "chekcs"])
    assert "no part chekcs; there are checks-pynq-z2, " in capsys.readouterr().err
