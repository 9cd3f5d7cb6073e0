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
"""List of host packages: package, a program or file in it, and its purpose, in columns."""

BROWSER = "chromium-driver"
"""The package in that list that has a browser and its driver."""

_DISK = 12 << 30
"""Bytes that the store and the output of one board take, with room for a second build."""
_MEMORY = 6 << 30
"""Bytes of memory with which all workspaces fit on tmpfs."""


@dataclass(frozen=True, kw_only=True)
class MissingRequirement:
    """A requirement that the machine does not meet.

    what: the requirement.
    mend: the command that meets it.
    vital: whether no build works without it.
    """

    what: str
    mend: str
    vital: bool = True


def missing_requirements(store: Path, *, in_container: bool = False) -> list[MissingRequirement]:
    """Return the requirements for building and testing that the machine does not meet.

    In containers fewer tools are required of it.
    """
    return [*([] if in_container else _missing_tools()), *_short_resources(store)]


def _missing_tools() -> list[MissingRequirement]:
    """Return the unmet requirements of the engine `host`."""
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
                what=f"qemu-user for {architecture}: programs for it do not run",
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
                    mend="run outside of a container, or give the container CAP_SYS_ADMIN",
                )
            )
    elif not shutil.which("sudo"):
        found.append(
            MissingRequirement(
                what="root: this user is not root, and sudo is not installed", mend="su -"
            )
        )
    return found


def _short_resources(store: Path) -> list[MissingRequirement]:
    """Return the resources of which the machine has less than recommended."""
    found: list[MissingRequirement] = []
    if available_memory() < _MEMORY:
        found.append(
            MissingRequirement(
                what=f"memory: {available_memory() >> 20} MiB are available; below "
                f"{_MEMORY >> 20} MiB builds use the disk, which is slower and does not work for "
                "32-bit boards on most filesystems",
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
    """Check that a build can start, and return the unmet requirements that are not vital.

    Raises:
        HostError: a vital requirement is not met; the hint is the command that meets it.
    """
    found = missing_requirements(store, in_container=control() is not None)
    vital = [each for each in found if each.vital]
    if vital:
        raise HostError(
            f"this machine lacks {vital[0].what}",
            hint=f"make setup ENGINE=host, or: {vital[0].mend}",
            details=[each.what for each in vital[1:]],
        )
    return found


def missing_packages() -> list[str]:
    """Return the packages of the list whose program or file does not exist."""
    missing: list[str] = []
    for line in PACKAGES.read_text().splitlines():
        words = line.partition("#")[0].split()
        if words:
            package, mark = words
            exists = (
                Path(mark).exists() if mark.startswith("/") else shutil.which(mark, path=_path())
            )
            if not exists and not package.endswith("?"):
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
    # A user's PATH may lack the directories of administrators' programs.
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
