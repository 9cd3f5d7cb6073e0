# SPDX-License-Identifier: MIT
"""What `new-board` writes of real designs: the tree's own board, but for a list of keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.spec.models import Board
from builder.spec.reader import Reader, SpecTree
from tests.fixtures.new_boards import PREFIX, exports, handoffs, make_boards
from tests.fixtures.product import ROOT

NEW = f"{PREFIX}Pynq-Z2"

KEYS = {
    "board": "its name",
    "summary": "words",
    "devicetree": "a file of its own",
    "bsp": "this export has start-up code, which the tree's board is without",
    "distro": "what has been built",
    "profile": "as it was asked for",
    "recipes": "the logic's overlay",
}
"""What differs in board.yaml, and why."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the new board in `boards/`."""
    path = tmp_path_factory.mktemp("new-board")
    make_boards(path, {NEW: exports(path)[NEW]})
    return path


def test_the_specification(folder: Path) -> None:
    files = SpecTree(root=ROOT, boards_dirs=(folder / "boards",)).board_files()
    reader = Reader()
    boards = [reader.board(files[name], files) for name in ("Pynq-Z2", NEW)]
    reader.raise_problems()
    own, new = (board.model_dump() for board in boards if isinstance(board, Board))
    assert {key for key in own if own[key] != new[key]} == {*KEYS}


def test_a_design_without_start_up_code_says_what_that_means(folder: Path) -> None:
    name = f"{PREFIX}Bare"
    make_boards(folder, {name: handoffs(folder)["Pynq-Z2"]})
    readme = (folder / f"boards/{name}/README.md").read_text()
    assert "but probably not on a board" in readme
    # In what the design differs from the board's own parameters, with which the table agrees: a clock
    # of the logic, the pins of I2C 0, and the start values of the DDR memory's training.
    said = readme.partition("contradicts the design:")[2].partition("\n")[0]
    assert "FPGA3 clock: PCW_ACT_FPGA3_PERIPHERAL_FREQMHZ says 100.000 MHz" in said
    differing = {part.split()[0] for part in said.split(";")}
    assert differing == {"FPGA3", "MIO", "DDR", "and"}, "the last says how many more there are"
