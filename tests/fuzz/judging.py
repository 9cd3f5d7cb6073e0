# SPDX-License-Identifier: MIT
"""Runs a target on an input and judges what it does: errors, time, memory, what it accepts."""

from __future__ import annotations

import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType, TracebackType
from typing import Final

from builder.errors import BuildError
from builder.spec.document import ProblemsError
from tests.fuzz.mutation import Mutation, mutated

ROOT: Final = Path(__file__).resolve().parents[2]
REGRESSIONS: Final = Path(__file__).with_name("regressions")
SECONDS: Final = 5
MOST_BYTES: Final = 200 << 20
"""Processor time, and memory beyond what was in use before, that one input may take."""

_STATUS: Final = Path("/proc/self/status")
_PEAK: Final = Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A parser of what others have made.

    run: feeds it an input; the directory is its own, and what is in it stays from input to input.
    allowed: what it may raise besides the program's own errors. examples: how many inputs the short
    test makes. limited: whether its process is to have little memory; the sanitizers' programs need
    much of what they do not use.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    mutation: Mutation
    run: Callable[[bytes, Path], object]
    allowed: tuple[type[BaseException], ...] = ()
    examples: int = 20
    limited: bool = True

    def input(self, random: Random, seeds: Sequence[bytes]) -> bytes:
        """Return an input that is made of one of the seeds."""
        return mutated(random, random.choice(seeds), self.mutation)


class AcceptedError(Exception):
    """Something was accepted that must be refused."""


class TooLongError(BaseException):
    """An input took too long; no `except Exception` is to catch it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an input led to: `kind` and `place` tell one from another; `report` is for people."""

    kind: str
    place: str = ""
    report: str = field(default="", compare=False)
    finding: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        """A name for the file of a finding."""
        return f"{self.kind}-{self.place}".replace("/", "-").replace(":", "-").rstrip("-")


def judge(target: Target, data: bytes, scratch: Path) -> Outcome:
    """Run a target on an input, and say what came of it."""
    expected: tuple[type[BaseException], ...] = (BuildError, ProblemsError, *target.allowed)
    before = _memory("VmRSS")
    _PEAK.write_text("5")  # proc(5): the peak begins anew
    try:
        with _time_limit():
            target.run(data, scratch)
        outcome = Outcome(kind="accepted")
    except expected as error:
        outcome = Outcome(kind=type(error).__name__, place=_place(error.__traceback__))
    except (Exception, TooLongError) as error:  # noqa: BLE001 - these are what is looked for
        outcome = Outcome(
            kind=type(error).__name__,
            place=_place(error.__traceback__),
            report="".join(traceback.format_exception(error, limit=-12)),
            finding=True,
        )
    used = _memory("VmHWM") - before
    if used > MOST_BYTES:
        what = f"{len(data)} bytes of input took {used >> 20} MiB of memory\n{outcome.report}"
        outcome = Outcome(kind="memory", place=outcome.place, report=what, finding=True)
    return outcome


@contextmanager
def _time_limit() -> Iterator[None]:
    """Raise TooLongError when the processor has worked for SECONDS."""

    def expired(number: int, frame: FrameType | None) -> None:
        raise TooLongError(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGPROF, expired)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _memory(name: str) -> int:
    """Return one of the kernel's numbers about this process's memory, in bytes."""
    lines = _STATUS.read_text().splitlines()
    (found,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(found.split()[1]) << 10


def _place(trace: TracebackType | None) -> str:
    """Return where in the program an error came from: the innermost of its own lines."""
    frames = traceback.extract_tb(trace)
    own = [each for each in frames if each.filename.startswith(f"{ROOT}/builder/")]
    if not own:
        return ""
    return f"{Path(own[-1].filename).relative_to(ROOT / 'builder')}:{own[-1].lineno}"


def shortened(target: Target, data: bytes, outcome: Outcome, scratch: Path) -> bytes:
    """Return a shorter input that leads to the same, after some tries."""
    length, tries = len(data) // 2, 200
    while length and tries:
        at = 0
        while at < len(data) and tries:
            tries -= 1
            shorter = data[:at] + data[at + length :]
            if judge(target, shorter, scratch) == outcome:
                data = shorter
            else:
                at += length
        length //= 2
    return data


def limit_memory(room: int) -> None:
    """Let this process have no more memory than it has, and `room` bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.setrecursionlimit(1000)
