# SPDX-License-Identifier: MIT
"""The QEMU that boots boards, and the suites that are asked for it; from its data file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias

from pydantic import Field

from builder.spec.document import read
from builder.spec.models import Model

FILE = Path(__file__).with_name("qemu_release.yaml")

Version: TypeAlias = tuple[int, int]
"""A version of QEMU as far as it says what QEMU can do: (11, 1)."""


class Suites(Model):
    """Suites that QEMU can be taken from, with what it depends on."""

    distribution: str
    suites: tuple[str, ...] = Field(min_length=1)


class QemuRelease(Model):
    """The wanted version and programs of QEMU, and the suites that have it.

    `version` is the oldest that suffices, `package` the one that brings the `programs`.
    """

    version: str = Field(pattern=r"^\d+\.\d+$")
    package: str
    programs: tuple[str, ...] = Field(min_length=1)
    origins: tuple[Suites, ...] = Field(alias="from", min_length=1)

    @property
    def oldest(self) -> Version:
        """The oldest version that suffices."""
        return version_in(self.version)


def version_in(text: str) -> Version:
    """Return the version in what QEMU says of itself ("QEMU emulator version 7.2.22"), or a package's.

    Raises:
        ValueError: there is none.
    """
    found = re.search(r"(?:^|version |:)(\d+)\.(\d+)", text)
    if found is None:
        raise ValueError(f"no version in {text!r}")
    return int(found[1]), int(found[2])


def qemu_source() -> QemuRelease:
    """Return what is wanted of QEMU."""
    return QemuRelease.model_validate(read(FILE).data)
