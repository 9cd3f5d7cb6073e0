# SPDX-License-Identifier: MIT
"""Requirements on the machine that builds, each with the command that meets it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from builder.engine.binfmt import FOREIGN, runs
from builder.engine.engine import control
from builder.engine.host import available_memory
from builder.errors import HostError

PACKAGES = Path(__file__).with_name("packages.txt")
"""Host packages: package, a program or file of it, and what for, in columns."""

BROWSER = "chromium-driver"
"""The one of them that brings a browser and its driver."""

_DISK = 12 << 30
"""Bytes that the store and the output of one board take, with room for a second build."""
_MEMORY = 6 << 30
"""Bytes of memory with which everything fits on tmpfs."""


@dataclass(frozen=True, kw_only=True)
class MissingRequirement:
    """Something that the machine lacks; `vital` if no build can do without it."""

    what: str
    mend: str
    vital: bool = True


def missing_requirements(store: Path, *, in_container: bool = False) -> list[MissingRequirement]:
    """Return all that the machine lacks for building and testing, in containers or without."""
    return [*([] if in_container else _lacking_tools()), *_short_of(store)]


def _lacking_tools() -> list[MissingRequirement]:
    """Return what the machine lacks to do all by itself."""
    found: list[MissingRequirement] = []
    missing = missing_packages()
    if missing:
        found.append(
            MissingRequirement(
                what=f"packages: {', '.join(missing)}",
                mend=f"apt-get install --no-install-recommends {' '.join(missing)}",
            )
        )
    if shutil.which("arch-test"):
        found += [
            MissingRequirement(
                what=f"programs for {architecture} do not run",
                mend="make setup ENGINE=host (registers qemu-user with binfmt_misc)",
            )
            for architecture in FOREIGN
            if not runs(architecture)
        ]
    if os.geteuid() == 0:
        if not _can_unshare():
            found.append(
                MissingRequirement(
                    what="the right to make namespaces (unshare(2))",
                    mend="run outside of a container, or give it CAP_SYS_ADMIN",
                )
            )
    elif not shutil.which("sudo"):
        found.append(
            MissingRequirement(what="root: this is another user, and there is no sudo", mend="su -")
        )
    return found


def _short_of(store: Path) -> list[MissingRequirement]:
    """Return what there should be more of."""
    found: list[MissingRequirement] = []
    if available_memory() < _MEMORY:
        found.append(
            MissingRequirement(
                what=f"memory: {available_memory() >> 20} MiB are available; below "
                f"{_MEMORY >> 20} MiB builds work on disk, which is slower and on most "
                "filesystems does not do for 32-bit boards",
                mend="stop other programs",
                vital=False,
            )
        )
    place = next(path for path in (store, *store.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < _DISK:
        found.append(
            MissingRequirement(
                what=f"disk: {free >> 20} MiB are free in {place}, a build takes {_DISK >> 20} MiB",
                mend="build.py clean --store-too, or --store on another disk",
                vital=False,
            )
        )
    return found


def check_machine(store: Path) -> list[MissingRequirement]:
    """Make sure that a build can begin; return what it could do with but can do without.

    Raises:
        HostError: it cannot; the hint is the command that mends it.
    """
    found = missing_requirements(store, in_container=control() is not None)
    vital = [lack for lack in found if lack.vital]
    if vital:
        raise HostError(
            f"this machine lacks {vital[0].what}",
            hint=f"make setup ENGINE=host, or: {vital[0].mend}",
            details=[lack.what for lack in vital[1:]],
        )
    return found


def missing_packages() -> list[str]:
    """Return the packages of the list whose program or file is not there."""
    missing: list[str] = []
    for line in PACKAGES.read_text().splitlines():
        words = line.partition("#")[0].split()
        if words:
            package, mark = words
            there = (
                Path(mark).exists() if mark.startswith("/") else shutil.which(mark, path=_path())
            )
            if not there and not package.endswith("?"):
                missing.append(package)
    return missing


def _can_unshare() -> bool:
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "true"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def _path() -> str:
    # What administrators' programs are in may be missing from a user's PATH.
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
