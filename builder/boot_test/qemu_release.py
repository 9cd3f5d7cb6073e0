# SPDX-License-Identifier: MIT
"""The QEMU release that boots boards, and the suites that have it, from qemu_release.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias

from pydantic import Field

from builder.spec.document import read
from builder.spec.models import Model

FILE = Path(__file__).with_name("qemu_release.yaml")

Version: TypeAlias = tuple[int, int]
"""Major and minor version of QEMU: (11, 1)."""


class Suites(Model):
    """Suites of a distribution that have QEMU and its dependencies."""

    distribution: str
    suites: tuple[str, ...] = Field(min_length=1)


class QemuRelease(Model):
    """The required version and programs of QEMU, and the suites that have it.

    `version` is the oldest sufficient version, `package` the package that contains `programs`.
    """

    version: str = Field(pattern=r"^\d+\.\d+$")
    package: str
    programs: tuple[str, ...] = Field(min_length=1)
    origins: tuple[Suites, ...] = Field(alias="from", min_length=1)

    @property
    def oldest(self) -> Version:
        """The oldest sufficient version."""
        return version_in(self.version)


def version_in(text: str) -> Version:
    """Parse the output of `--version` ("QEMU emulator version 7.2.22"), or a package's version.

    Raises:
        ValueError: there is no version in it.
    """
    found = re.search(r"(?:^|version |:)(\d+)\.(\d+)", text)
    if found is None:
        raise ValueError(f"no version in {text!r}")
    return int(found[1]), int(found[2])


def qemu_source() -> QemuRelease:
    """Read the QEMU release."""
    return QemuRelease.model_validate(read(FILE).data)
