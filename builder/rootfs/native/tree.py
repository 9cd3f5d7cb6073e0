# SPDX-License-Identifier: MIT
"""Programs of the build machine, as a target's root filesystem sees them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from builder.spec.models import Architecture
from builder.steps.architectures import MACHINES
from builder.steps.step import Job, Step

ROOT = "root"
ARCHITECTURE = "architecture"
"""In the output of the step that makes them: what is shown to targets, laid out as a root
filesystem, and a file with the architecture that it is for."""


@dataclass(frozen=True, kw_only=True)
class NativeTree:
    """The output of the step `native-programs`.

    `files` is laid out as a root filesystem: stacked below the target's, it is all in place.
    """

    files: Path
    architecture: Architecture

    @property
    def libraries(self) -> str:
        """Directory in the target that all is in, but for a link to the loader."""
        return f"/usr/lib/{MACHINES[self.architecture].triplet}"

    @property
    def loader(self) -> str:
        """Link in the target to the loader.

        Not where the programs' own architecture has it: packages remove an empty /lib64 as a
        left-over (usrmerge), and the target's ldconfig would list what it finds in /lib.
        """
        return f"/usr/{Path(MACHINES[self.architecture].loader).name}"

    @property
    def link(self) -> str:
        """The target of that link."""
        return f"lib/{Path(self.libraries).name}/{Path(self.loader).name}"

    @property
    def entrance(self) -> str:
        """Directory in the target with the programs that begin native execution.

        `enter PROGRAM ...` is for commands; dpkg and env are there for those who look for them
        by PATH.
        """
        return f"{self.libraries}/native/entrance"

    def attach(self) -> str:
        """Return a shell line that puts all into the tree at "$1", which is not stacked."""
        libraries = shlex.quote(f"{self.files}{self.libraries}")
        # Read-only: what clears the tree away must not clear this.
        return (
            f'mkdir -p "$1{self.libraries}" && '
            f'mount --bind {libraries} "$1{self.libraries}" && '
            f'mount -o remount,bind,ro "$1{self.libraries}" && '
            f'ln -s {self.link} "$1{self.loader}"'
        )

    def detach(self) -> str:
        """Return a shell line that undoes `attach`."""
        return f'rm "$1{self.loader}" && umount "$1{self.libraries}" && rmdir "$1{self.libraries}"'


def native_parent(native: Step | None) -> dict[str, Step]:
    """Return the parents of a step that uses native programs, if there are any."""
    return {native.name: native} if native else {}


def native_tree(native: Step | None, job: Job) -> NativeTree | None:
    """Return what a job finds of them."""
    if native is None:
        return None
    made = job.input(native.name)
    architecture = Architecture((made / ARCHITECTURE).read_text())
    return NativeTree(files=made / ROOT, architecture=architecture)
