# SPDX-License-Identifier: MIT
"""The distribution of an existing system, for recipes that customize it."""

from __future__ import annotations

from pathlib import Path

from builder.apt.archive import Archive
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution


class InstalledSystem(Archive):
    """The distribution of an existing system, with the system's own date.

    It has no indexes: nothing can be installed from it.
    """

    def __init__(
        self, distribution: NamedDistribution, architecture: Architecture, *, epoch: int
    ) -> None:
        super().__init__(Path("/nonexistent"), distribution, architecture)
        self._epoch = epoch

    @property
    def epoch(self) -> int:
        """The system's date, in seconds since 1970."""
        return self._epoch
