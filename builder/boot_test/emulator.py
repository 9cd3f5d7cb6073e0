# SPDX-License-Identifier: MIT
"""The QEMU that boots boards: the host's, or a newer one unpacked from an archive."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from builder.boot_test.qemu_release import QemuRelease, Version, qemu_source, version_in
from builder.errors import HostError


@dataclass(frozen=True, kw_only=True)
class Qemu:
    """QEMU's programs: those in `directory`, or the host's."""

    source: QemuRelease
    version: Version
    directory: Path | None = None

    @property
    def new(self) -> bool:
        """Whether its version is recent enough."""
        return self.version >= self.source.oldest

    def program(self, name: str) -> str:
        """Return the path of one of its programs; for the host's QEMU, the name."""
        return str(self.directory / name) if self.directory else name

    def __str__(self) -> str:
        return f"QEMU {self.version[0]}.{self.version[1]}"


def found_qemu(directory: Path | None = None) -> Qemu:
    """Return the QEMU in a directory, or the host's.

    Raises:
        HostError: it is not installed, or does not print its version.
    """
    source = qemu_source()
    name = source.programs[0]
    program = str(directory / name) if directory else name
    if shutil.which(program) is None:
        raise HostError(f"{program} is not installed", hint="make setup ENGINE=host")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    try:
        version = version_in(done.stdout)
    except ValueError as error:
        raise HostError(f"{program} does not print its version: {done.stderr.strip()}") from error
    return Qemu(source=source, version=version, directory=directory)
