# SPDX-License-Identifier: MIT
"""Events of a build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Note:
    """Message that belongs to no step; `loud` highlights it."""

    text: str
    loud: bool = False


@dataclass(frozen=True, kw_only=True)
class StepCached:
    """A step's output was in the store."""

    step: str


@dataclass(frozen=True, kw_only=True)
class StepStarted:
    """A step starts; `reason` says why it is not cached, `log` is the file with its output."""

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
    """A step's output is in the store; `seconds` is wall time, `size` is bytes in the store.

    `unchanged` means that the output equals that of the step's previous run.
    """

    step: str
    seconds: float
    size: int
    unchanged: bool = False


@dataclass(frozen=True, kw_only=True)
class StepFailed:
    """A step failed; `stopped` means that the user, or the failure of another step, ended it."""

    step: str
    seconds: float
    message: str
    stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class BoardFinished:
    """The end of a build for one board.

    Attributes:
        board: name of the board.
        status: exit code of a build for this board alone.
        image: the image or the requested by-product; None if it was not built.
        message: error message of the failed step, if one failed.
        hint: its hint.
        log: its log.
    """

    board: str
    status: int
    image: Path | None
    message: str | None = None
    hint: str | None = None
    log: Path | None = None


@dataclass(frozen=True, kw_only=True)
class CommandFailed:
    """The end of a command by an error that belongs to no step; `status` is the exit code."""

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
    """Function that receives every event, from any thread."""

    def __call__(self, event: Event) -> None: ...
