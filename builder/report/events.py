# SPDX-License-Identifier: MIT
"""The one stream of events that a build emits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something worth saying that belongs to no step; `loud` makes it stand out."""

    text: str
    loud: bool = False


@dataclass(frozen=True, kw_only=True)
class StepCached:
    """A step's output was in the store."""

    step: str


@dataclass(frozen=True, kw_only=True)
class StepStarted:
    """A step begins; `reason` says why it is not kept, `log` is where its output goes."""

    step: str
    reason: str
    log: Path


@dataclass(frozen=True, kw_only=True)
class StepProgress:
    """The latest line of a running step's log."""

    step: str
    line: str


@dataclass(frozen=True, kw_only=True)
class StepFinished:
    """A step's output is in the store; `seconds` is wall time, `size` bytes in the store.

    It is `unchanged` if it is the same as after the last time that the step was carried out.
    """

    step: str
    seconds: float
    size: int
    unchanged: bool = False


@dataclass(frozen=True, kw_only=True)
class StepFailed:
    """A step ended without an output; `stopped` means that the user or a failure ended it."""

    step: str
    seconds: float
    message: str
    stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class BoardFinished:
    """The end of a build for one board; `status` is the exit code that it alone would give.

    image: the image, or the by-product that was asked for; None if it could not be made.
    message, hint, log: of the step that failed, if one did.
    """

    board: str
    status: int
    image: Path | None
    message: str | None = None
    hint: str | None = None
    log: Path | None = None


@dataclass(frozen=True, kw_only=True)
class CommandFailed:
    """The end of a command by an error that is of no step; `status` is its exit code."""

    status: int
    message: str
    hint: str | None = None
    details: Sequence[str] = ()


Event = (
    Note
    | StepCached
    | StepStarted
    | StepProgress
    | StepFinished
    | StepFailed
    | BoardFinished
    | CommandFailed
)


class Listener(Protocol):
    """Receives every event, from any thread."""

    def __call__(self, event: Event) -> None: ...
