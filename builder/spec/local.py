# SPDX-License-Identifier: MIT
"""Model of a user's settings."""

from __future__ import annotations

from pydantic import Field

from builder.spec.distribution import Mirror
from builder.spec.models import Model, Scalar
from builder.spec.texts import Line, Name


class LocalPetaLinux(Model):
    """Settings of PetaLinux."""

    installer: Line | None = Field(
        default=None,
        pattern=r"^/",
        description="Absolute path of AMD's installer; `--petalinux-installer` overrides it",
    )
    base: Name | None = Field(
        default=None,
        description="Distribution of the container in which PetaLinux runs (default: one that AMD "
        "supports for the release)",
    )


class LocalSettings(Model):
    """A user's settings: `local.yaml`, which is not part of the repository."""

    parameters: dict[Name, dict[Name, Scalar]] = Field(
        default={}, description="Parameters of recipes: recipe, parameter, value"
    )
    mirrors: dict[Name, dict[Name, Mirror]] = Field(
        default={}, description="Mirrors: distribution, archive, base URL"
    )
    petalinux: LocalPetaLinux = Field(default=LocalPetaLinux(), description="Settings of PetaLinux")
