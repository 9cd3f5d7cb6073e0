# SPDX-License-Identifier: MIT
"""From a hardware export to a board that boots, with no file edited."""

from __future__ import annotations

import json

import pytest

from builder.publish.output import Output
from tests.fixtures.new_boards import DESIGNS, PREFIX, SMALL, build_boards, exports, make_boards

NAMES = [f"{PREFIX}{name}" for name in (*DESIGNS, *SMALL)]


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Output]:
    """All new boards, written, built and tested by the user's own commands."""
    folder = tmp_path_factory.mktemp("new-boards")
    make_boards(folder, exports(folder))
    return build_boards(folder, "test", *NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_boots_and_its_checks_pass(tested: dict[str, Output], name: str) -> None:
    report = json.loads((tested[name].directory / "test-report.json").read_text())
    assert report["failed"] == 0
    labels = {check["label"] for check in report["checks"]}
    assert "The kernel applies the overlay, and every block becomes a device." in labels
    assert "The device tree contains the board's name." in labels
