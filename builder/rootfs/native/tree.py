# SPDX-License-Identifier: MIT
"""Native programs, as they appear in a target's root filesystem."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from builder.spec.models import Architecture
from builder.steps.architectures import MACHINES
from builder.steps.step import Job, Step

ROOT = "root"
"""In the output of the step `native-programs`: the root filesystem with the native programs."""

ARCHITECTURE = "architecture"
"""In the output of the step `native-programs`: a file with the architecture of the programs."""


@dataclass(frozen=True, kw_only=True)
class NativeTree:
    """The output of the step `native-programs`.

    `files` is laid out as a root filesystem, to be mounted below the target's layers.
    """

    files: Path
    architecture: Architecture

    @property
    def libraries(self) -> str:
        """The directory in the target that contains everything except the link to the loader."""
        return f"/usr/lib/{MACHINES[self.architecture].triplet}"

    @property
    def loader(self) -> str:
        """The link in the target to the loader.

        It is not at the usual path of the programs' architecture: packages remove an empty /lib64
        (usrmerge), and the target's ldconfig would list libraries in /lib.
        """
        return f"/usr/{Path(MACHINES[self.architecture].loader).name}"

    @property
    def link(self) -> str:
        """The target of the link to the loader."""
        return f"lib/{Path(self.libraries).name}/{Path(self.loader).name}"

    @property
    def entrance(self) -> str:
        """The directory in the target with the programs that start native execution.

        Commands use `enter PROGRAM ...`; `dpkg` and `env` serve programs that search PATH for them.
        """
        return f"{self.libraries}/native/entrance"

    def attach(self) -> str:
        """Return a shell line that mounts the programs in a tree "$1" that is no overlay."""
        libraries = shlex.quote(f"{self.files}{self.libraries}")
        # Read-only: a removal of the tree must not delete the programs.
        return (
            f'mkdir -p "$1{self.libraries}" && '
            f'mount --bind {libraries} "$1{self.libraries}" && '
            f'mount -o remount,bind,ro "$1{self.libraries}" && '
            f'ln -s {self.link} "$1{self.loader}"'
        )

    def detach(self) -> str:
        """Return a shell line that reverts `attach`."""
        return f'rm "$1{self.loader}" && umount "$1{self.libraries}" && rmdir "$1{self.libraries}"'


def native_parent(native: Step | None) -> dict[str, Step]:
    """Return the parents of a step that uses native programs, if any."""
    return {native.name: native} if native else {}


def native_tree(native: str | None, job: Job) -> NativeTree | None:
    """Return the native programs from a job's input of this name; None without a name."""
    if native is None:
        return None
    output = job.input(native)
    architecture = Architecture((output / ARCHITECTURE).read_text())
    return NativeTree(files=output / ROOT, architecture=architecture)
