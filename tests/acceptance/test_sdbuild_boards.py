# SPDX-License-Identifier: MIT
"""Boards of sdbuild's in all their shapes: brought over, and built as far as their inputs allow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.product import build_py
from tests.fixtures.sdbuild_repository import BOARDS, write_board

MISSING = {
    "RFSoC4x2": "there is no file",  # the hardware export, which Vivado is to write
    "Ultra96": "there is no file",  # PetaLinux's BSP
    "VCK190": "Versal is not supported",
    "e200": "axi_gpio_0",  # a label of PetaLinux's own device tree
}
"""What is missing for the boot files of a board, in the words of whoever says so."""

COMPLETE = sorted(BOARDS.keys() - MISSING.keys())


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of all boards: their reports, what the one build said, and its output."""

    reports: Mapping[str, Mapping[str, Any]]
    status: int
    said: str
    output: Path

    def mainline(self, board: str) -> bool:
        """Whether a board's boot files can be planned, and are not PetaLinux's to make."""
        report = self.reports[board]
        if not report["plannable"]:
            return False
        keys = yaml.safe_load((Path(report["directory"]) / "board.yaml").read_text())
        return bool(keys["bsp"]["provider"] == "mainline")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    folder = tmp_path_factory.mktemp("sdbuild-boards")
    for name in BOARDS:
        write_board(folder / "old", name)
    boards, output = folder / "boards", folder / "output"
    done = build_py("import-spec", str(folder / "old"), "--to", str(boards), "--json")
    reports = {each["board"]: each for each in json.loads(done.stdout)}
    plannable = [name for name, report in reports.items() if report["plannable"]]
    words = [word for name in plannable for word in ("--board", name)]
    done = build_py(
        *words,
        *("--boards-dir", str(boards), "--output", str(output), "--only", "boot-files"),
        *("--progress", "plain"),
    )
    return Imported(reports=reports, status=done.returncode, said=done.stdout, output=output)


def test_at_least_eight_are_converted_and_no_shape_is_lost(imported: Imported) -> None:
    assert imported.reports.keys() == BOARDS.keys()
    assert sum(report["directory"] is not None for report in imported.reports.values()) >= 8


@pytest.mark.parametrize("board", COMPLETE)
def test_what_is_complete_has_boot_files(imported: Imported, board: str) -> None:
    assert imported.mainline(board)
    boot = imported.output / board / "boot" / "fat"
    assert {"BOOT.BIN", "boot.scr", "image.ub"} <= {path.name for path in boot.iterdir()}


@pytest.mark.parametrize("board", MISSING)
def test_what_is_missing_is_named(imported: Imported, board: str) -> None:
    report = imported.reports[board]
    told = [*report["problems"], *(each["what"] for each in report["findings"])]
    assert any(MISSING[board] in what for what in told)
    if imported.mainline(board):
        # And it is what the build stopped at.
        assert imported.status != 0
        assert MISSING[board] in imported.said
    assert not (imported.output / board / "boot").exists()
