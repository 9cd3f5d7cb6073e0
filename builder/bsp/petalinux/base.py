# SPDX-License-Identifier: MIT
"""The distribution that PetaLinux runs in: the first of a release's that is available.

The step that installs PetaLinux chooses the distribution and records it beside PetaLinux; all
builds with this installation use it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.errors import HostError, UserError
from builder.spec.resolve import NamedDistribution

_FILE = "base.json"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The chosen distribution and its image; `why` is why earlier ones are unavailable, or ""."""

    distribution: str
    image: str
    why: str = ""

    def message(self, release: str) -> str:
        """Return the log line about the choice."""
        return f"PetaLinux {release} runs in {self.distribution}" + (self.why and f": {self.why}")

    def note(self, tool: Path) -> None:
        """Record the choice beside PetaLinux."""
        (tool / _FILE).write_text(json.dumps(asdict(self)))


def noted(tool: Path) -> Chosen | None:
    """Return the choice that is recorded beside PetaLinux; None if there is none."""
    try:
        return Chosen(**json.loads((tool / _FILE).read_text()))
    except FileNotFoundError:
        return None


def choose(bases: Sequence[NamedDistribution], make: Callable[[NamedDistribution], str]) -> Chosen:
    """Return the first distribution for which `make` returns an image.

    Raises:
        HostError, UserError: `make` fails for all of them; the error is that of the first.
    """
    errors: list[HostError | UserError] = []
    why: list[str] = []
    for base in bases:
        try:
            return Chosen(distribution=base.name, image=make(base), why="; ".join(why))
        except (HostError, UserError) as error:
            errors.append(error)
            why.append(f"{base.name} is not available: {error.message}")
    first = errors[0]
    details = (*first.details, *why[1:])
    raise type(first)(first.message, hint=first.hint, details=details) from first
