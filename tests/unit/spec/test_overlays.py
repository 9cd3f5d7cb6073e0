# SPDX-License-Identifier: MIT
"""A board's own PL designs and notebooks, and the files that belong to them."""

from __future__ import annotations

import pytest

from tests.fixtures.specs import BOARD, Files

DESIGN = ("base.bit", "base.hwh", "base.py", "notebooks/first/led.ipynb", "parts/__init__.py")


def test_a_boards_designs_are_found_without_the_project_beside_them(files: Files) -> None:
    for name in (
        *DESIGN,
        "parts/a.h",
        "base.tcl",
        "base.runs/synth.bit",
        "parts/__pycache__/a.pyc",
    ):
        files.write(f"boards/B/designs/base/{name}", "")
    files.board(
        BOARD + "overlays:\n  - designs/base\n  - {directory: later, optional: true}\n"
        "boot-overlay: base\n"
    )
    spec = files.resolve()
    (design,) = spec.overlays
    assert design.name == "base"
    assert design.directory == files.root / "boards/B/designs/base"
    assert [str(path) for path in design.files] == [*DESIGN, "parts/a.h"]
    assert spec.board.boot_overlay == "base"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("overlays: [none]", "11: overlays.0: there is no directory "),
        ("overlays: [empty]", "11: overlays.0: there is no bitstream (*.bit) in "),
        ("overlays: [base, x/base]", "11: overlays.1: has the same name as another design, base: "),
        ("overlays: [{dir: base}]", "11: overlays.0.dir: is not a known key"),
        ("overlays: [/base]", "11: overlays.0: must be a path below the directory of this file"),
        ("notebooks: none", "11: notebooks: there is no directory "),
    ],
)
def test_a_missing_design_is_named(files: Files, text: str, problem: str) -> None:
    for folder in ("base", "x/base"):
        files.write(f"boards/B/{folder}/base.bit", "")
    files.write("boards/B/empty/base.tcl", "")
    files.board(BOARD + text + "\n")
    assert [line for line in files.problems() if line.startswith(f"boards/B/board.yaml:{problem}")]


def test_a_variant_has_the_designs_of_the_board_that_it_extends(files: Files) -> None:
    files.write("boards/B/base/base.bit", "")
    files.write("boards/V/own/own.bit", "")
    files.board(BOARD + "overlays: [base]\n")
    files.variant("extends: B\noverlays+: [own]\n")
    found = files.resolve(board="V").overlays
    assert [design.directory for design in found] == [
        files.root / "boards/B/base",
        files.root / "boards/V/own",
    ]
