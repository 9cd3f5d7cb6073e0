# SPDX-License-Identifier: MIT
"""Views of a build's events."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from builder.report.console import (
    JsonView,
    LineView,
    LiveView,
    columns,
    describe,
    duration,
    make_view,
    size,
)
from builder.report.events import (
    BoardFinished,
    CommandFailed,
    Event,
    Note,
    StepCached,
    StepFailed,
    StepFinished,
    StepProgress,
    StepStarted,
)

EVENTS: list[tuple[Event, str]] = [
    (Note(text="as of [today]"), "as of [today]"),
    (Note(text="WITHOUT", loud=True), "WITHOUT"),
    (StepCached(step="kernel"), "  cached  kernel"),
    (
        StepStarted(step="recipe:x", reason="port: 1 -> [2]", log=Path("/x.log")),
        "  start   recipe:x (port: 1 -> [2])",
    ),
    (StepProgress(step="kernel", line="CC x.o"), ""),
    (StepFinished(step="kernel", seconds=75, size=3 << 20), "  done    kernel  1 min 15 s, 3 MiB"),
    (
        StepFinished(step="kernel", seconds=75, size=3 << 20, unchanged=True),
        "  done    kernel  1 min 15 s, 3 MiB, unchanged",
    ),
    (StepFailed(step="kernel", seconds=1.25, message="m"), "  FAILED  kernel after 1.2 s"),
    (
        StepFailed(step="kernel", seconds=1, message="m", stopped=True),
        "  stopped kernel after 1.0 s",
    ),
    (BoardFinished(board="B", status=0, image=Path("/B.img")), ""),
    (CommandFailed(status=2, message="no"), ""),
]


@pytest.mark.parametrize(("event", "text"), EVENTS)
def test_each_event_is_one_line(event: Event, text: str) -> None:
    assert Text.from_markup(describe(event)).plain == text


def test_loud_notes_look_different() -> None:
    assert describe(Note(text="x", loud=True)) != describe(Note(text="x"))


@pytest.mark.parametrize("text", ["[bold]x[/]", "[/]", "path[0]", "back\\", "[red"])
def test_text_is_never_taken_for_markup(text: str) -> None:
    for event in (
        Note(text=text),
        Note(text=text, loud=True),
        StepCached(step=text),
        StepStarted(step=text, reason=text, log=Path("x")),
        StepFinished(step=text, seconds=0, size=0),
        StepFailed(step=text, seconds=0, message=""),
    ):
        assert text in Text.from_markup(describe(event)).plain


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (4.21, "4.2 s"),
        (59.9, "59.9 s"),
        (60, "1 min 0 s"),
        (119.6, "2 min 0 s"),
        (754.4, "12 min 34 s"),
        (3600, "60 min 0 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (100 << 20, "100 MiB"),
        (1 << 30, "1.0 GiB"),
        (int(1.3 * (1 << 30)), "1.3 GiB"),
        (5 << 40, "5120.0 GiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_columns_stand_below_one_another() -> None:
    rows = [("board", "size"), ("Pynq-Z2", "1.8 GiB"), ("X", "")]
    assert list(columns(rows)) == ["board    size", "Pynq-Z2  1.8 GiB", "X"]


def plain_console(*, terminal: bool = False, width: int = 80) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=width), file


def test_the_plain_view_prints_a_line_an_event_and_breaks_none() -> None:
    console, file = plain_console(width=20)
    with LineView(console) as view:
        for event, _ in EVENTS:
            view(event)
    assert file.getvalue().splitlines() == [text for _, text in EVENTS if text]


def test_the_live_view_shows_running_steps_and_leaves_the_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console, file = plain_console(terminal=True)
    with LiveView(console) as view:
        view(StepStarted(step="kernel", reason="never built", log=Path("x")))
        view(StepProgress(step="kernel", line="  CC [M] fs/ext4.o"))
        view(StepProgress(step="unknown", line="ignored"))
        console.print(view._table())  # noqa: SLF001 - what is refreshed four times a second
        assert "CC [M] fs/ext4.o" in file.getvalue()
        view(StepFinished(step="kernel", seconds=1, size=1))
        file.truncate(0)
        console.print(view._table())  # noqa: SLF001
        assert "kernel" not in file.getvalue()


@pytest.mark.parametrize("width", [60, 100, 200])
def test_long_lines_of_logs_leave_room_for_names_and_times(width: int) -> None:
    console, file = plain_console(terminal=True, width=width)
    console.no_color = True
    view = LiveView(console)
    names = ["recipe:jupyter", "recipe:xilinx-tools", "wheels:pynq [Own]"]
    for name in names:
        view(StepStarted(step=name, reason="never built", log=Path("x")))
        view(StepProgress(step=name, line="  CC " + "very/long/path/" * 30 + "x.o"))
    file.truncate(0)
    file.seek(0)
    console.print(view._table())  # noqa: SLF001
    lines = Text.from_ansi(file.getvalue()).plain.splitlines()
    assert len(lines) == len(names), "none is broken"
    for name, line in zip(names, lines, strict=True):
        assert re.fullmatch(rf"{re.escape(name)} +\d\.\d s CC very/.*…", line.rstrip())


def test_a_long_name_leaves_room_for_the_time() -> None:
    console, file = plain_console(terminal=True, width=40)
    view = LiveView(console)
    view(StepStarted(step="kernel " + "Board, " * 20, reason="", log=Path("x")))
    file.truncate(0)
    file.seek(0)
    console.print(view._table())  # noqa: SLF001
    assert re.match(r"kernel .*… \d\.\d s", Text.from_ansi(file.getvalue()).plain)


def test_the_json_view_prints_one_object_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    console, _ = plain_console()
    with JsonView(console) as view:
        for event, _ in EVENTS:
            view(event)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.pop("event") for line in lines] == [type(event).__name__ for event, _ in EVENTS]
    assert all(isinstance(line.pop("time"), float) for line in lines)
    assert lines[0] == {"text": "as of [today]", "loud": False}
    assert lines[3] == {"step": "recipe:x", "reason": "port: 1 -> [2]", "log": "/x.log"}
    assert lines[4] == {"step": "kernel", "line": "CC x.o"}


@pytest.mark.parametrize(
    ("kind", "terminal", "on_ci", "view"),
    [
        ("auto", True, False, LiveView),
        ("auto", True, True, LineView),
        ("auto", False, False, LineView),
        ("live", True, True, LiveView),
        ("plain", True, False, LineView),
        ("json", True, False, JsonView),
    ],
)
def test_the_view_depends_on_terminal_and_option(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    *,
    terminal: bool,
    on_ci: bool,
    view: type[LineView],
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if on_ci:
        monkeypatch.setenv("CI", "true")
    console, _ = plain_console(terminal=terminal)
    assert type(make_view(kind, console)) is view
