# SPDX-License-Identifier: MIT
"""Base images of containers: a distribution's minimal system for this machine's architecture."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from builder.apt.mirrors import keyring, mirror
from builder.errors import HostError, UserError
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution

_ARCHITECTURES = {"x86_64": Architecture.AMD64, "aarch64": Architecture.ARM64}


@dataclass(frozen=True, kw_only=True)
class Base:
    """A distribution's base image: its name in registries, and how to bootstrap it without them.

    Attributes:
        image: name and tag in registries.
        suite: the distribution's suite.
        sources: text of a sources.list for a bootstrap.
        problem: the reason for which `sources` is empty.
        remedy: how to solve the problem.
    """

    image: str
    suite: str
    sources: str
    problem: str = ""
    remedy: str = ""


def base_of(distribution: NamedDistribution) -> Base:
    """Return the base image of a distribution.

    `sources` is empty if this machine does not know the distribution's archives, which it needs
    only if no registry answers.
    """
    model = distribution.model
    slim = "-slim" if model.family == "debian" else ""
    sources, problem, remedy = "", "", ""
    try:
        sources = _sources(distribution)
    except (HostError, UserError) as error:
        problem, remedy = error.message, error.hint or ""
    return Base(
        image=f"{model.family}:{model.suite}{slim}",
        suite=model.suite,
        sources=sources,
        problem=problem,
        remedy=remedy,
    )


def _sources(distribution: NamedDistribution) -> str:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise HostError(f"{distribution.name}: no packages are known for the machine {machine}")
    components = " ".join(distribution.model.components)
    signed = keyring(distribution)
    return "".join(
        f"deb [signed-by={signed}] {mirror(distribution, pocket, _ARCHITECTURES[machine])} "
        f"{pocket.suite} {components}\n"
        for pocket in distribution.model.pockets
    )
