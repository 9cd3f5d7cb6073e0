# SPDX-License-Identifier: MIT
"""Figures of a run: what was done, how it ended, and what is wrong."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_SHOWN = 40
"""Problems of a part that are listed; all are counted."""


@dataclass(kw_only=True)
class Figures:
    """What came of a part.

    Rounds end when `most` of them are done or `minutes` are over. Equal seeds make equal choices,
    round by round.
    """

    part: str
    seed: int
    most: int
    minutes: float
    rounds: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    failed: int = 0

    def each(self) -> Iterator[random.Random]:
        """Yield the source of each round's choices."""
        started = time.monotonic()
        while self.rounds < self.most and time.monotonic() - started < self.minutes * 60:
            self.rounds += 1
            yield random.Random(f"{self.seed} {self.part} {self.rounds}")  # noqa: S311
            self.seconds = time.monotonic() - started
            counts = ", ".join(f"{number} {what}" for what, number in sorted(self.counts.items()))
            say(f"{self.part} {self.rounds}, {self.seconds:.0f} s: {counts}")

    def count(self, what: str, number: int = 1) -> None:
        """Count an event."""
        self.counts[what] += number

    def wrong(self, how: str, problems: Iterable[str]) -> None:
        """Note problems of a round; `how` says what was done in it."""
        for problem in problems:
            self.failed += 1
            text = f"{self.part} {self.rounds} (seed {self.seed}, {how}): {problem}"
            say(f"PROBLEM {text}")
            if len(self.problems) < _SHOWN:
                self.problems.append(text)

    def as_json(self) -> dict[str, Any]:
        """Return all figures."""
        return {
            "seed": self.seed,
            "rounds": self.rounds,
            "seconds": round(self.seconds),
            "counts": dict(sorted(self.counts.items())),
            "failed": self.failed,
            "problems": self.problems,
        }


def table(parts: Sequence[Figures]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        "| part | seed | rounds | minutes | outcomes | problems |",
        "|---|---|---|---|---|---|",
    ]
    for each in parts:
        counts = ", ".join(f"{number} {what}" for what, number in sorted(each.counts.items()))
        lines.append(
            f"| {each.part} | {each.seed} | {each.rounds} | {each.seconds / 60:.0f} "
            f"| {counts} | {each.failed} |"
        )
    return "\n".join(lines)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"torture: {text}\n")
    sys.stdout.flush()
