# SPDX-License-Identifier: MIT
"""Specifications of sdbuild boards, read without make."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import UserError
from builder.sdbuild_import.report import Outcome, Report
from builder.sdbuild_import.specification import Specification, read_specification
from tests.fixtures.sdbuild_imports import Imports, said


@pytest.mark.parametrize(
    ("text", "outcome", "line", "what"),
    [
        ("BSP_X := a b\n", Outcome.PERSON, 2, "BSP: expected one word: a b"),
        ("RFSoC_X := 1\n", Outcome.LEFT, 2, "RFSoC_X: "),
        ("BASE_X ?= x.tar\n", Outcome.LEFT, 2, "BASE_X: "),
        ("STAGE3_PACKAGES_X := a\n", Outcome.LEFT, 2, "STAGE3_PACKAGES_X: "),
        ("REMOTE_PACKAGES_X := a\n", Outcome.LEFT, 2, "REMOTE_PACKAGES_X: "),
        ("SDBOOT_X := sd0\n", Outcome.PERSON, 2, "SDBOOT: sd0 is not a device"),
        ("SOMETHING := 1\n", Outcome.PERSON, 2, "SOMETHING is not a variable of sdbuild"),
        ("BSP_Y := a\n", Outcome.PERSON, 2, "BSP_Y is not for X, so sdbuild ignores it: used"),
        ("BSP_X := a\nBSP_Y := b\n", Outcome.PERSON, 3, "BSP_Y is not for X: ignored"),
        ("FPGA_MANAGER_X := 0\n", Outcome.CONVERTED, 2, "the FPGA manager is always on here; "),
    ],
)
def test_lines_of_a_specification(
    tmp_path: Path, text: str, outcome: Outcome, line: int, what: str
) -> None:
    report = Report(board="X", source=tmp_path)
    specification(tmp_path, f"ARCH_X := arm\n{text}", report)
    assert any(each.startswith(what) for each in said(report, outcome, "X.spec", line))


def specification(folder: Path, text: str, report: Report) -> Specification:
    (folder / "X.spec").write_text(text)
    return read_specification(folder / "X.spec", report)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("BSP_X := x\n", "X.spec:1: ", "ARCH_X is missing (one of arm, aarch64)"),
        ("\nARCH_X := armv7\n", "X.spec:2: ", "ARCH_X must be one of arm, aarch64, not armv7"),
    ],
)
def test_a_specification_without_an_architecture_is_refused(
    tmp_path: Path, text: str, where: str, what: str
) -> None:
    with pytest.raises(UserError) as caught:
        specification(tmp_path, text, Report(board="X", source=tmp_path))
    assert caught.value.message == f"{tmp_path}/{where}{what}"
    assert caught.value.exit_code == 2


def test_conditions_are_for_a_person(imports: Imports) -> None:
    report = imports("AUP-ZU3")
    lines = {each.line for each in report.of(Outcome.PERSON) if "condition" in each.what}
    assert lines == {4, 5, 7}
    assert not [each for each in report.of(Outcome.PERSON) if "PACKAGES is no" in each.what]
