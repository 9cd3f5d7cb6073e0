# SPDX-License-Identifier: MIT
"""The model of a user's own settings."""

from __future__ import annotations

from pydantic import Field

from builder.spec.distribution import Mirror
from builder.spec.models import Model, Scalar
from builder.spec.texts import Line, Name


class LocalPetaLinux(Model):
    """PetaLinux on a user's machine."""

    installer: Line | None = Field(
        default=None,
        pattern=r"^/",
        description="Absolute path of AMD's installer (`--petalinux-installer` wins)",
    )
    base: Name | None = Field(
        default=None,
        description="Distribution that PetaLinux runs in, in a container (default: one that AMD "
        "names for the release)",
    )


class LocalSettings(Model):
    """A user's own settings: `local.yaml`, which is not part of the tree."""

    parameters: dict[Name, dict[Name, Scalar]] = Field(
        default={}, description="Parameters of recipes: recipe, parameter, value"
    )
    mirrors: dict[Name, dict[Name, Mirror]] = Field(
        default={}, description="Mirrors: distribution, archive, base URL"
    )
    petalinux: LocalPetaLinux = Field(
        default=LocalPetaLinux(), description="PetaLinux on this machine"
    )
