# SPDX-License-Identifier: MIT
"""Views of events: a live view for terminals, lines for logs and CI, JSON lines for programs."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

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


class LineView:
    """View with one line per event, without progress events."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, event: Event) -> None:
        text = describe(event)
        if text:
            self.console.print(text, highlight=False, soft_wrap=True)

    def __enter__(self) -> LineView:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: all events have been printed."""


class JsonView(LineView):
    """View with one JSON object per line, for programs."""

    def __call__(self, event: Event) -> None:
        values = {"event": type(event).__name__, "time": round(time.time(), 2), **asdict(event)}
        sys.stdout.write(json.dumps(values, default=str) + "\n")
        sys.stdout.flush()


class LiveView(LineView):
    """Live view: finished steps scroll, running steps are below with their time and last line."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, str]] = {}
        self._live = Live(
            console=console, get_renderable=self._table, refresh_per_second=4, transient=True
        )

    def __call__(self, event: Event) -> None:
        with self._lock:
            match event:
                case StepStarted():
                    self._running[event.step] = (time.monotonic(), event.reason)
                case StepProgress():
                    if event.step in self._running:
                        started, _ = self._running[event.step]
                        self._running[event.step] = (started, event.line)
                case StepFinished() | StepFailed():
                    self._running.pop(event.step, None)
                case Note() | StepCached() | BoardFinished() | CommandFailed():
                    pass
        super().__call__(event)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _table(self) -> Group:
        table = Table.grid(padding=(0, 1))
        # Rich narrows columns that may wrap first, so log lines are shortened before names and times.
        table.add_column(
            style="cyan", no_wrap=True, overflow="ellipsis", max_width=self.console.width // 2
        )
        table.add_column(justify="right", no_wrap=True)
        table.add_column(style="dim")
        with self._lock:
            running = list(self._running.items())
        for step, (started, line) in running:
            shown = Text(line.strip(), no_wrap=True, overflow="ellipsis")
            table.add_row(escape(step), duration(time.monotonic() - started), shown)
        return Group(table)


def make_view(kind: str, console: Console) -> LineView:
    """Return the view of a kind: `auto`, `live`, `plain` or `json`."""
    if kind == "json":
        return JsonView(console)
    if kind == "live" or (kind == "auto" and console.is_terminal and "CI" not in os.environ):
        return LiveView(console)
    return LineView(console)


def describe(event: Event) -> str:
    """Return an event as a line with rich's markup; empty for progress and end events."""
    match event:
        case Note():
            return f"[bold yellow]{escape(event.text)}[/]" if event.loud else escape(event.text)
        case StepCached():
            return f"[dim]  cached  {escape(event.step)}[/]"
        case StepStarted():
            return f"[cyan]  start   [/]{escape(event.step)} [dim]({escape(event.reason)})[/]"
        case StepFinished():
            took = f"{duration(event.seconds)}, {size(event.size)}"
            same = ", unchanged" if event.unchanged else ""
            return f"[green]  done    [/]{escape(event.step)}  {took}{same}"
        case StepFailed():
            word = "stopped " if event.stopped else "FAILED  "
            return f"[red]  {word}[/]{escape(event.step)} after {duration(event.seconds)}"
        case StepProgress() | BoardFinished() | CommandFailed():
            return ""  # the commands print results, and errors on standard error


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows of a table as lines with aligned columns, without wrapping."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


def duration(seconds: float) -> str:
    """Format a time in seconds, as in 4.2 s or 12 min 3 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def size(count: int) -> str:
    """Format a number of bytes, as in 1.3 GiB."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
