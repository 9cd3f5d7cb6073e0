# SPDX-License-Identifier: MIT
"""Measurement of wall time, CPU time and memory of commands, and tables of ratios."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.engine.host import available_memory
from builder.errors import StepError
from builder.sandbox.process import TAIL_LINES

_SAMPLE_SECONDS = 0.2
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of a command.

    wall: Wall time in seconds.
    cpu: CPU time in seconds, of the command and of the processes that it waited for.
    memory: Maximum decrease of the machine's available memory in bytes, including files on tmpfs.
    """

    wall: float
    cpu: float
    memory: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table.

    what: The measured task.
    ours: The measured value.
    unit: The unit of `ours` and `reference`.
    against: The reference task.
    reference: The value of the reference.
    most: The maximum ratio, if there is a limit.
    """

    what: str
    ours: float
    unit: str
    against: str
    reference: float
    most: float | None = None

    @property
    def ratio(self) -> float:
        """The quotient of the measured value and the reference."""
        return self.ours / self.reference


def seconds(
    what: str, ours: float, against: str, reference: float, most: float | None = None
) -> Row:
    """Return a row for two times in seconds."""
    return Row(what=what, ours=ours, unit="s", against=against, reference=reference, most=most)


def costs(what: str, ours: Cost, against: str, reference: Cost) -> list[Row]:
    """Return rows for wall time and CPU time."""
    return [
        seconds(f"{what}: wall", ours.wall, against, reference.wall),
        seconds(f"{what}: CPU", ours.cpu, against, reference.cpu),
    ]


def cost_of(
    argv: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> Cost:
    """Run a command with its output in `log`; return its cost.

    Raises:
        StepError: The command failed.
    """
    words = [str(word) for word in argv]
    before = available_memory()
    lowest = before
    done = threading.Event()

    def sample() -> None:
        nonlocal lowest
        while not done.wait(_SAMPLE_SECONDS):
            lowest = min(lowest, available_memory())

    sampler = threading.Thread(target=sample)
    sampler.start()
    started = time.monotonic()
    with log.open("w") if log else tempfile.TemporaryFile("w") as output:
        process = subprocess.Popen(
            words,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            # wait4 returns the usage of this child alone and of the processes that it waited for.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            # End the command and its children too.
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
        finally:
            done.set()
            sampler.join()
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - started
    if process.returncode != 0:
        # The log is in a temporary directory: show its end.
        lines = log.read_text(errors="replace").splitlines() if log else []
        raise StepError(
            f"{' '.join(words)[:200]} ended with status {process.returncode}",
            details=lines[-TAIL_LINES:],
        )
    return Cost(wall=wall, cpu=usage.ru_utime + usage.ru_stime, memory=before - lowest)


def markdown(title: str, rows: Sequence[Row]) -> str:
    """Return a Markdown table of rows."""
    lines = [f"### {title}", "", "| ratio | at most | what | ours | against | |", "|" + "---|" * 6]
    for row in rows:
        most = f"{row.most:g}" if row.most is not None else ""
        late = " **missed**" if row.most is not None and row.ratio > row.most else ""
        lines.append(
            f"| {row.ratio:.2f}{late} | {most} | {row.what} | {_number(row.ours, row.unit)} "
            f"| {row.against} | {_number(row.reference, row.unit)} |"
        )
    return "\n".join([*lines, ""])


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Return rows as JSON data."""
    return [{**asdict(row), "ratio": round(row.ratio, 3)} for row in rows]


def _number(value: float, unit: str) -> str:
    return f"{value / _MIB:.0f} MiB" if unit == "bytes" else f"{value:.1f} {unit}"


def say(text: str) -> None:
    """Print a line of progress to stderr."""
    sys.stderr.write(f"bench: {text}\n")
