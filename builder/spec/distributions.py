# SPDX-License-Identifier: MIT
"""Distributions for programs on the host, independent of a board's image."""

from __future__ import annotations

from builder.spec.reader import Reader, SpecTree
from builder.spec.resolve import NamedDistribution


def named_distribution(tree: SpecTree, name: str) -> NamedDistribution:
    """Read an existing distribution with the user's mirrors.

    Raises:
        UserError: its file or the user's settings have problems.
    """
    reader = Reader()
    model = reader.distribution(tree.distribution_files()[name])
    local = reader.local(tree.local_file)
    reader.raise_problems()
    assert model, "there is a model if there are no problems"
    mirrors = local.mirrors if local else {}
    return NamedDistribution(name=name, model=model, mirrors=mirrors.get(name, {}))
