# SPDX-License-Identifier: MIT
"""Errors that are shown to users; any other exception is a bug in the builder (exit code 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class BuildError(Exception):
    """Base class of all expected errors.

    Attributes:
        message: what is wrong.
        hint: what to do about it.
        details: lines of evidence, for example the end of a log.
    """

    exit_code: ClassVar[int] = 3

    def __init__(
        self, message: str, *, hint: str | None = None, details: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)


class UserError(BuildError):
    """A mistake in the user's input: a specification, an option, a file."""

    exit_code = 2


class StepError(BuildError):
    """A step of a build failed."""

    exit_code = 3


class CommandError(StepError):
    """A command failed; `replay` is its command line, to be pasted into a shell."""

    def __init__(
        self,
        message: str,
        *,
        replay: str,
        status: int,
        hint: str | None = None,
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.replay = replay
        self.status = status

    @property
    def killed(self) -> bool:
        """Whether a signal ended the command (a negative status, or above 128 from a shell)."""
        return self.status < 0 or self.status > 128


class HostError(BuildError):
    """The host lacks something; the hint is the command that installs it."""

    exit_code = 4


class Interrupted(BuildError):
    """The user asked to stop."""

    exit_code = 130
