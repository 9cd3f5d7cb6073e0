# SPDX-License-Identifier: MIT
"""The model of a distribution's file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from builder.spec.models import Architecture, Model
from builder.spec.texts import Line, Name, PackageName

Suite = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/+-]*$", max_length=100)]

Mirror = Annotated[
    # In apt's list of sources, it is a word between others.
    str, Field(pattern=r"^(host|[a-z][a-z0-9+.-]*:[^\s\x00-\x1f\x7f-\x9f]+)$", max_length=1000)
]


class Pocket(Model):
    """One suite of an archive."""

    suite: Suite = Field(description="The suite's name in the archive")
    archive: Name = Field(default="main", description="The archive that holds it")


class Sources(Model):
    """Packages of the distribution that hold sources."""

    linux: PackageName = Field(description="Binary package with the kernel's source tarball")
    u_boot: PackageName = Field(description="Source package of U-Boot")
    trusted_firmware: PackageName = Field(description="Source package of Trusted Firmware-A")


class Distribution(Model):
    """A distribution: `distributions/<name>.yaml`."""

    summary: Line = Field(description="One line on what it is")
    family: Literal["debian", "ubuntu"] = Field(description="Who publishes it")
    suite: Suite = Field(description="Code name of the release")
    version: Name = Field(description="Version of the release")
    components: tuple[Suite, ...] = Field(min_length=1, description="Components of the archives")
    pockets: tuple[Pocket, ...] = Field(min_length=1, description="Suites that packages come from")
    mirrors: dict[Name, Mirror] = Field(
        description="Base URL of each archive, or `host`: as the host's own apt has it, else the "
        "default of debootstrap. `NAME-amd64` is where an archive's packages for that architecture "
        "are, if they are elsewhere"
    )
    keyring: Line = Field(description="File name of the keyring that signs the archives")
    keyring_package: PackageName = Field(description="Host package that brings the keyring")
    python: str = Field(pattern=r"^3\.[0-9]{1,3}$", description="Version of its python3")
    architectures: tuple[Architecture, ...] = Field(min_length=1, description="Its architectures")
    sources: Sources
