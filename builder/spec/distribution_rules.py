# SPDX-License-Identifier: MIT
"""Validation rules for distributions beyond their model."""

from __future__ import annotations

from pathlib import Path

from builder.spec.distribution import Distribution
from builder.spec.reader import Reader, closest


def check_distribution(reader: Reader, file: Path, model: Distribution) -> None:
    """Add a problem for each suite in an archive without a mirror."""
    for position, pocket in enumerate(model.pockets):
        if pocket.archive not in model.mirrors:
            what = f"mirrors has no {pocket.archive}{closest(pocket.archive, model.mirrors)}"
            reader.add_problem(file, ("pockets", position, "archive"), what)
