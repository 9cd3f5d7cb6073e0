# SPDX-License-Identifier: MIT
"""Model of a distribution's file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from builder.spec.models import Architecture, Model
from builder.spec.texts import Line, Name, PackageName

Suite = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/+-]*$", max_length=100)]

Mirror = Annotated[
    # A field of a line in apt's sources.list.
    str, Field(pattern=r"^(host|[a-z][a-z0-9+.-]*:[^\s\x00-\x1f\x7f-\x9f]+)$", max_length=1000)
]


class Pocket(Model):
    """One suite of an archive."""

    suite: Suite = Field(description="The suite's name in the archive")
    archive: Name = Field(default="main", description="Archive with the suite")


class Sources(Model):
    """Packages of the distribution with sources."""

    linux: PackageName = Field(description="Binary package with the kernel's source tarball")
    u_boot: PackageName = Field(description="Source package of U-Boot")
    trusted_firmware: PackageName = Field(description="Source package of Trusted Firmware-A")


class Distribution(Model):
    """A distribution: `distributions/<name>.yaml`."""

    summary: Line = Field(description="Summary in one line")
    family: Literal["debian", "ubuntu"] = Field(description="Publisher")
    suite: Suite = Field(description="Code name of the release")
    version: Name = Field(description="Version of the release")
    components: tuple[Suite, ...] = Field(min_length=1, description="Components of the archives")
    pockets: tuple[Pocket, ...] = Field(min_length=1, description="Suites that packages come from")
    mirrors: dict[Name, Mirror] = Field(
        description="Base URL of each archive, or `host`: the mirror of the host's own apt, "
        "otherwise debootstrap's default. `NAME-amd64` is the URL for an architecture, if it differs"
    )
    keyring: Line = Field(description="File name of the keyring for the archives' signatures")
    keyring_package: PackageName = Field(description="Host package with the keyring")
    python: str = Field(pattern=r"^3\.[0-9]{1,3}$", description="Version of its python3")
    architectures: tuple[Architecture, ...] = Field(min_length=1, description="Architectures")
    sources: Sources
