# SPDX-License-Identifier: MIT
"""Engine that runs commands on the machine itself, in workspaces with namespaces of their own."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from builder.containers.containers import Containers
from builder.containers.docker import Docker
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PrivateWorkspace, Workspace
from builder.spec.models import Architecture

_SPARE_MEMORY = 2 << 30
"""Bytes of memory that a tmpfs leaves to the commands that use it."""


class HostEngine:
    """Opener of workspaces in given directories, which keeps account of the memory they take."""

    def __init__(self, processes: Processes, containers: Containers | None = None) -> None:
        self.processes = processes
        self._containers = containers
        self._open_containers = ExitStack()
        self._lock = threading.Lock()
        self._reserved = 0

    @property
    def containers(self) -> Containers:
        """Runner of containers: Docker, or the broker if this process is in a container itself."""
        with self._lock:
            self._containers = self._containers or self._open_containers.enter_context(Docker())
            return self._containers

    def close(self) -> None:
        """Close the connection to Docker."""
        self._open_containers.close()

    @contextmanager
    def workspace(
        self, directory: Path, *, need: int, network: bool = False
    ) -> Iterator[Workspace]:
        """Open a workspace with room for `need` bytes at `directory`.

        It is a tmpfs if that much memory is available, because compilers and unpackers are faster
        there and because 32-bit ARM programs see empty directories on ext4 (QEMU bug 1805913).
        Otherwise it is the directory itself.
        """
        with self._lock:
            # Memory that other workspaces may still fill is reserved, even if the kernel reports it
            # as free.
            fits = available_memory() - self._reserved >= need + _SPARE_MEMORY
            reserved = need if fits else 0
            self._reserved += reserved
        try:
            yield from self._open(directory, need=need, fits=fits, network=network)
        finally:
            with self._lock:
                self._reserved -= reserved

    def _open(
        self, directory: Path, *, need: int, fits: bool, network: bool
    ) -> Iterator[Workspace]:
        with PrivateWorkspace(
            directory,
            processes=self.processes,
            tmpfs_bytes=2 * need if fits else None,
            network=network,
        ) as workspace:
            yield workspace


def host_architecture() -> Architecture | None:
    """Return this machine's architecture; None if the builder does not support it."""
    try:
        named = subprocess.run(
            ["dpkg", "--print-architecture"], capture_output=True, text=True, check=False
        ).stdout.strip()
    except FileNotFoundError:
        return None
    return Architecture(named) if named in {item.value for item in Architecture} else None


def available_memory() -> int:
    """Return the bytes of available memory (MemAvailable of proc(5))."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return 0
