# SPDX-License-Identifier: MIT
"""Findings of a device tree's checks: storage, acceptance, messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.bsp.tree_checks.findings import (
    NOT_COMPARED,
    Finding,
    describe_findings,
    read_findings,
    reason,
    unused,
    write_findings,
)
from builder.spec.models import AcceptedFinding

I2C = Finding(check="design", subject="i2c@e0005000", text="it is off")


def accepting(finding: str) -> AcceptedFinding:
    return AcceptedFinding(finding=finding, because="nothing hangs on it")


def test_findings_are_written_and_read(tmp_path: Path) -> None:
    write_findings(tmp_path / "f", [I2C])
    assert read_findings(tmp_path / "f") == [I2C]


def test_a_finding_is_shown_with_its_name() -> None:
    assert [*describe_findings([I2C], [])] == ["[design: i2c@e0005000] it is off"]


@pytest.mark.parametrize("pattern", ["design: i2c@e0005000", "design: i2c@*"])
def test_an_accepted_finding_is_not_shown(pattern: str) -> None:
    accepted = [accepting(pattern)]
    assert reason(I2C, accepted) == "nothing hangs on it"
    assert [*describe_findings([I2C], accepted)] == []


@pytest.mark.parametrize("pattern", ["linux: i2c@e0005000", "design: i2c", "DESIGN: *"])
def test_unused_entries_are_reported(pattern: str) -> None:
    accepted = [accepting(pattern)]
    assert [*describe_findings([I2C], accepted)] == ["[design: i2c@e0005000] it is off"]
    ((index, text),) = unused([I2C], accepted)
    assert index == 0
    assert repr(pattern) in text


def test_an_entry_for_a_check_that_was_not_made_is_left_alone() -> None:
    accepted = [accepting("schema: /x: *"), accepting("linux: /x"), accepting("desing: x")]
    missing = Finding(check="schema", subject=NOT_COMPARED, text="dt-validate is not installed")
    assert [index for index, _ in unused([missing], accepted)] == [1, 2]
    assert [index for index, _ in unused([], accepted, not_made=["linux", "schema"])] == [2]


@pytest.mark.parametrize(
    ("check", "subject"),
    [
        ("linux", "/fabric@40000000"),
        ("linux", "/fabric@a0000000"),
        ("linux", "/chosen pynq_board"),
        ("schema", "/fabric@40000000: failed to match any schema with compatible: 'generic-uio'"),
        (
            "schema",
            "/: failed to match any schema with compatible: 'tul,pynq-z2', 'xlnx,zynq-7000'",
        ),
    ],
)
def test_findings_accepted_for_all_boards_need_no_entry(check: str, subject: str) -> None:
    assert reason(Finding(check=check, subject=subject, text=""), [])


@pytest.mark.parametrize(
    ("check", "subject"),
    [
        ("linux", "/axi/usb@e0002000 phys"),
        ("schema", "/my@1: failed to match any schema with compatible: 'my,thing'"),
        ("design", "i2c@e0005000"),
    ],
)
def test_nothing_else_is_right_by_itself(check: str, subject: str) -> None:
    assert reason(Finding(check=check, subject=subject, text=""), []) is None


def test_many_findings_of_one_check_are_cut_short() -> None:
    many = [Finding(check="linux", subject=f"/n{number}", text="") for number in range(20)]
    lines = [*describe_findings([*many, I2C], [])]
    assert len(lines) == 10
    assert lines[-1] == "[linux] 12 more findings; see `findings` in manifest.json"
