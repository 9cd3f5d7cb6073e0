# SPDX-License-Identifier: MIT
"""Distributions for work on the machine that builds, not for a board's image."""

from __future__ import annotations

from builder.spec.reader import Reader, SpecTree
from builder.spec.resolve import NamedDistribution


def named_distribution(tree: SpecTree, name: str) -> NamedDistribution:
    """Read a distribution that is there, for work on the machine that builds.

    Raises:
        UserError: its file, or the user's settings, have problems.
    """
    reader = Reader()
    model = reader.distribution(tree.distribution_files()[name])
    local = reader.local(tree.local_file)
    reader.raise_problems()
    assert model, "without problems it is there"
    mirrors = local.mirrors if local else {}
    return NamedDistribution(name=name, model=model, mirrors=mirrors.get(name, {}))
