# SPDX-License-Identifier: MIT
"""The supported releases of PetaLinux: their requirements and command lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from builder.spec.document import read
from builder.spec.models import Model, Soc
from builder.spec.recipe import PackageLists
from builder.spec.texts import Name

_FILE = Path(__file__).with_name("releases.yaml")

TEMPLATES = {Soc.ZYNQ: "zynq", Soc.ZYNQMP: "zynqMP"}
"""PetaLinux's project templates of the SoC families."""

PLATFORMS = {Soc.ZYNQ: "arm", Soc.ZYNQMP: "aarch64"}
"""The installer's names of the SoC families' processors."""


class Facts(Model):
    """A release's entry in releases.yaml, which describes the keys."""

    installer: str = Field(pattern=r"\.run$")
    base: list[Name] = Field(min_length=1)
    accept: str
    commands: Literal["options", "words"]
    zocl: tuple[Soc, ...]


class _Table(Model):
    packages: PackageLists
    releases: dict[Name, Facts]


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of PetaLinux, such as version 2024.1."""

    version: str
    facts: Facts

    def create(self, *words: str) -> list[str]:
        """Return the command line that creates a project."""
        first = ["project"] if self.facts.commands == "words" else ["-t", "project"]
        return ["petalinux-create", *first, *words]

    def package(self, *words: str) -> list[str]:
        """Return the command line that packs BOOT.BIN."""
        first = "boot" if self.facts.commands == "words" else "--boot"
        return ["petalinux-package", first, *words]

    def packages(self, distribution: str, family: str) -> list[str]:
        """Return the packages of a distribution that the release needs, sorted."""
        lists = _table().packages
        keys = ("all", family, distribution, self.version)
        return sorted({package for key in keys for package in lists.get(key, ())})


@cache
def _table() -> _Table:
    return _Table.model_validate(read(_FILE).data)


def releases() -> Mapping[str, Release]:
    """Return the releases by their versions, the oldest first."""
    return {
        version: Release(version=version, facts=facts)
        for version, facts in _table().releases.items()
    }
