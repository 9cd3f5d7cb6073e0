# SPDX-License-Identifier: MIT
"""The distribution that PetaLinux runs in: the first of a release's that this machine can have.

Who installs PetaLinux chooses, and notes the choice beside it: all that it builds is built there.
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
    """The distribution that was taken, its image, and why none of those before it ("")."""

    distribution: str
    image: str
    why: str = ""

    def said(self, release: str) -> str:
        """Return what is to be said of it."""
        return f"PetaLinux {release} runs in {self.distribution}" + (self.why and f": {self.why}")

    def note(self, tool: Path) -> None:
        """Note it beside PetaLinux."""
        (tool / _FILE).write_text(json.dumps(asdict(self)))


def noted(tool: Path) -> Chosen | None:
    """Return what is noted beside PetaLinux."""
    try:
        return Chosen(**json.loads((tool / _FILE).read_text()))
    except FileNotFoundError:
        return None


def choose(bases: Sequence[NamedDistribution], make: Callable[[NamedDistribution], str]) -> Chosen:
    """Return the first distribution of which an image can be made, by `make`.

    Raises:
        HostError, UserError: of none of them; the error is that of the first.
    """
    refused: list[HostError | UserError] = []
    why: list[str] = []
    for base in bases:
        try:
            return Chosen(distribution=base.name, image=make(base), why="; ".join(why))
        except (HostError, UserError) as error:
            refused.append(error)
            why.append(f"{base.name} cannot be had: {error.message}")
    first = refused[0]
    details = (*first.details, *why[1:])
    raise type(first)(first.message, hint=first.hint, details=details) from first
