# SPDX-License-Identifier: MIT
"""What a container's image begins with: a distribution's smallest system, of this machine's kind."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from builder.archive.mirrors import keyring, mirror
from builder.errors import HostError, UserError
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution

_ARCHITECTURES = {"x86_64": Architecture.AMD64, "aarch64": Architecture.ARM64}


@dataclass(frozen=True, kw_only=True)
class Base:
    """How a distribution's image is called by registries, and what it is made of without them."""

    image: str
    suite: str
    sources: str


def base_of(distribution: NamedDistribution) -> Base:
    """Return the base that a distribution makes.

    `sources` is empty where this machine does not know the distribution's archives.
    """
    model = distribution.model
    slim = "-slim" if model.family == "debian" else ""
    return Base(
        image=f"{model.family}:{model.suite}{slim}",
        suite=model.suite,
        sources=_sources(distribution),
    )


def _sources(distribution: NamedDistribution) -> str:
    architecture = _ARCHITECTURES.get(platform.machine())
    if architecture is None:
        return ""
    components = " ".join(distribution.model.components)
    try:
        signed = keyring(distribution)
        return "".join(
            f"deb [signed-by={signed}] {mirror(distribution, pocket, architecture)} "
            f"{pocket.suite} {components}\n"
            for pocket in distribution.model.pockets
        )
    except (HostError, UserError):
        return ""
