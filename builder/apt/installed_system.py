# SPDX-License-Identifier: MIT
"""The distribution of a system that is there already, as recipes get to see it."""

from __future__ import annotations

from pathlib import Path

from builder.apt.archive import Archive
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution


class InstalledSystem(Archive):
    """A system's distribution, and in place of the archive's date (s since 1970) the system's own.

    It has no indexes: nothing can be installed from it.
    """

    def __init__(
        self, distribution: NamedDistribution, architecture: Architecture, *, epoch: int
    ) -> None:
        super().__init__(Path("/nonexistent"), distribution, architecture)
        self._epoch = epoch

    @property
    def epoch(self) -> int:
        """When the system was made, in seconds since 1970."""
        return self._epoch
