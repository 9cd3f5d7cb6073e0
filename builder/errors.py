# SPDX-License-Identifier: MIT
"""The errors that a user may see; anything else that escapes is a bug of ours (exit code 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class BuildError(Exception):
    """Base of all expected errors.

    `message` says what is wrong, `hint` what to do about it, `details` are lines of evidence
    (for example the end of a log).
    """

    exit_code: ClassVar[int] = 3

    def __init__(
        self, message: str, *, hint: str | None = None, details: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)

    def __reduce__(self) -> tuple[object, ...]:
        """Let errors be pickled: Exception's own way knows no keyword arguments."""
        return restored, (type(self), vars(self))


def restored(kind: type[BuildError], facts: Mapping[str, Any]) -> BuildError:
    """Return an error of another process, of which `vars` was sent."""
    error = kind.__new__(kind, facts["message"])
    vars(error).update(facts)
    return error


class UserError(BuildError):
    """A mistake in the user's input: a spec, an option, a file."""

    exit_code = 2


class StepError(BuildError):
    """A step of a build failed."""

    exit_code = 3


class CommandError(StepError):
    """A command ended with a status other than 0; `replay` is a line that can be pasted."""

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


class HostError(BuildError):
    """The machine that builds lacks something; the hint is the command that mends it."""

    exit_code = 4


class Interrupted(BuildError):
    """The user asked to stop."""

    exit_code = 130
