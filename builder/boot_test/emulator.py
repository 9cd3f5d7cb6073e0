# SPDX-License-Identifier: MIT
"""The QEMU that boots boards: this machine's own, or one that was unpacked beside it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from builder.boot_test.qemu_release import QemuRelease, Version, qemu_source, version_in
from builder.errors import HostError


@dataclass(frozen=True, kw_only=True)
class Qemu:
    """QEMU's programs: in `directory`, or this machine's own."""

    source: QemuRelease
    version: Version
    directory: Path | None = None

    @property
    def new(self) -> bool:
        """Whether it is as new as wanted."""
        return self.version >= self.source.oldest

    def program(self, name: str) -> str:
        """Return what starts one of its programs."""
        return str(self.directory / name) if self.directory else name

    def __str__(self) -> str:
        return f"QEMU {self.version[0]}.{self.version[1]}"


def found_qemu(directory: Path | None = None) -> Qemu:
    """Return the QEMU in a directory, or this machine's own.

    Raises:
        HostError: it does not run.
    """
    source = qemu_source()
    name = source.programs[0]
    program = str(directory / name) if directory else name
    if shutil.which(program) is None:
        raise HostError(f"{program} is not on this machine", hint="make setup ENGINE=host")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    try:
        version = version_in(done.stdout)
    except ValueError as error:
        raise HostError(f"{program} does not say its version: {done.stderr.strip()}") from error
    return Qemu(source=source, version=version, directory=directory)
