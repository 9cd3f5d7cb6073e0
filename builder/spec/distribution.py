# SPDX-License-Identifier: MIT
"""The model of a distribution's file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from builder.spec.models import Architecture, Model, Name


class Pocket(Model):
    """One suite of an archive."""

    suite: str = Field(description="The suite's name in the archive")
    archive: Name = Field(default="main", description="The archive that holds it")


class Sources(Model):
    """Packages of the distribution that hold sources."""

    linux: str = Field(description="Binary package with the kernel's source tarball")
    u_boot: str = Field(description="Source package of U-Boot")
    trusted_firmware: str = Field(description="Source package of Trusted Firmware-A")


class Distribution(Model):
    """A distribution: `distributions/<name>.yaml`."""

    summary: str = Field(description="One line on what it is")
    family: Literal["debian", "ubuntu"] = Field(description="Who publishes it")
    suite: str = Field(description="Code name of the release")
    version: str = Field(description="Version of the release")
    components: tuple[str, ...] = Field(min_length=1, description="Components of the archives")
    pockets: tuple[Pocket, ...] = Field(min_length=1, description="Suites that packages come from")
    mirrors: dict[Name, str] = Field(
        description="Base URL of each archive, or `host`: as the host's own apt has it, else the "
        "default of debootstrap. `NAME-amd64` is where an archive's packages for that architecture "
        "are, if they are elsewhere"
    )
    keyring: str = Field(description="File name of the keyring that signs the archives")
    keyring_package: str = Field(description="Host package that brings the keyring")
    python: str = Field(pattern=r"^3\.\d+$", description="Version of its python3")
    architectures: tuple[Architecture, ...] = Field(min_length=1, description="Its architectures")
    sources: Sources
