# SPDX-License-Identifier: MIT
"""Base images of containers: a distribution's smallest system, for this machine's architecture."""

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
    """How a distribution's image is called by registries, and what it is made of without them.

    problem, remedy: why there are no sources, and what mends that.
    """

    image: str
    suite: str
    sources: str
    problem: str = ""
    remedy: str = ""


def base_of(distribution: NamedDistribution) -> Base:
    """Return the base that a distribution makes.

    `sources` is empty where this machine does not know the distribution's archives: it needs them
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
        raise HostError(f"{distribution.name}: there are no packages for a machine of {machine}")
    components = " ".join(distribution.model.components)
    signed = keyring(distribution)
    return "".join(
        f"deb [signed-by={signed}] {mirror(distribution, pocket, _ARCHITECTURES[machine])} "
        f"{pocket.suite} {components}\n"
        for pocket in distribution.model.pockets
    )
