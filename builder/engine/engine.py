# SPDX-License-Identifier: MIT
"""Choice of the engine: commands run on this machine, or in the builder's own container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from builder.containers.broker import RelayedContainers
from builder.containers.containers import Containers, not_root
from builder.engine.host import HostEngine
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PlainWorkspace, Workspace

CONTROL = "BUILDER_CONTROL"
"""Environment variable of a builder in a container: the directory with the sockets and the key."""

CAPABLE = "BUILDER_CAPABLE"
"""Environment variable that is set if the builder's container may mount and make namespaces."""

CALLER = "BUILDER_CALLER"
"""Environment variable of a builder in a container: the user who started it, "UID:GID"."""


class Engine(Protocol):
    """Opener of workspaces, with access to containers."""

    @property
    def containers(self) -> Containers:
        """Runner of containers."""

    def workspace(
        self, directory: Path, *, need: int, network: bool = False
    ) -> AbstractContextManager[Workspace]:
        """Open a workspace with room for `need` bytes at `directory`."""

    def close(self) -> None:
        """Release the engine's resources."""


class ContainerEngine:
    """Engine in a container without capabilities: the container is the sandbox."""

    def __init__(self, processes: Processes, containers: RelayedContainers) -> None:
        self.processes = processes
        self.containers = containers

    @contextmanager
    def workspace(
        self,
        directory: Path,
        *,
        need: int,  # noqa: ARG002 - the engines' one signature
        network: bool = False,  # noqa: ARG002
    ) -> Iterator[Workspace]:
        """Open a workspace at `directory`, on disk. It has a network if the container has one."""
        with PlainWorkspace(directory, processes=self.processes) as workspace:
            yield workspace

    def close(self) -> None:
        """Do nothing: there are no resources."""


def control() -> Path | None:
    """Return the directory with the sockets; None outside of the builder's containers."""
    return Path(os.environ[CONTROL]) if CONTROL in os.environ else None


def caller() -> tuple[int, int]:
    """Return the IDs of the user and group who started a builder that is in a container."""
    user, _, group = os.environ[CALLER].partition(":")
    return int(user), int(group)


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def engine_here(processes: Processes) -> Engine:
    """Return the engine for the machine or container in which this process runs."""
    folder = control()
    if folder is None:
        return HostEngine(processes)
    containers = RelayedContainers(folder, not_root(*caller()))
    if CAPABLE in os.environ:
        return HostEngine(processes, containers)
    return ContainerEngine(processes, containers)
