# SPDX-License-Identifier: MIT
"""The benchmark's tables, and what it keeps of a run that fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.measure import Row, markdown, seconds
from builder.errors import StepError


def test_a_ratio_above_its_limit_is_marked() -> None:
    table = markdown("Builds", [seconds("a", 3.0, "b", 2.0, 1.0), seconds("c", 1.0, "d", 2.0, 1.0)])
    missed, held = table.splitlines()[4:6]
    assert missed.startswith("| 1.50 **missed** | 1 | a | 3.0 s | b | 2.0 s |")
    assert held.startswith("| 0.50 | 1 | c |")


def test_what_was_measured_is_kept_when_a_later_section_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(place: Path, peers: bool) -> list[Row]:  # noqa: FBT001 - the sections' one signature
        raise StepError("no board")

    def works(place: Path, peers: bool) -> list[Row]:  # noqa: FBT001 - the sections' one signature
        return [seconds("a", 1.0, "b", 2.0)]

    found = tmp_path / "output/bench.json"
    monkeypatch.setattr(bench, "SECTIONS", {"one": ("One", works), "two": ("Two", fails)})
    for words, status in (([], StepError.exit_code), (["one"], 0)):
        monkeypatch.setattr("sys.argv", ["bench", "--json", str(found), *words])
        assert bench.main() == status
        kept = json.loads(found.read_text())
        assert [row["ratio"] for row in kept["one"]] == [0.5]
    assert "bench two: no board" in capsys.readouterr().err
    # Sections of runs before stay.
    found.write_text(json.dumps({**kept, "three": []}))
    assert bench.main() == 0
    assert {"one", "three"} <= json.loads(found.read_text()).keys()
