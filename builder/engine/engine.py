# SPDX-License-Identifier: MIT
"""The engine of this process: it runs commands on the machine, or in the container that it is in."""

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
"""Variable that a builder in a container has: the directory with the sockets of both sides."""

CAPABLE = "BUILDER_CAPABLE"
"""Variable that it has beside, if its container may mount and make namespaces."""

CALLER = "BUILDER_CALLER"
"""Variable with the user for whom a builder in a container works: "UID:GID"."""


class Engine(Protocol):
    """Opens workspaces, and knows who runs containers."""

    @property
    def containers(self) -> Containers:
        """Who runs containers."""

    def workspace(
        self, directory: Path, *, need: int, network: bool = False
    ) -> AbstractContextManager[Workspace]:
        """Open a workspace with room for `need` bytes at `directory`."""

    def close(self) -> None:
        """Let go of what it holds."""


class ContainerEngine:
    """For a process in a container without capabilities, where there is nothing to set up."""

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
        """Open a workspace at `directory`, on disk. The container decides on the network."""
        with PlainWorkspace(directory, processes=self.processes) as workspace:
            yield workspace

    def close(self) -> None:
        """Do nothing: it holds nothing."""


def control() -> Path | None:
    """Return the directory with the sockets, if this process is in a container of the builder's."""
    return Path(os.environ[CONTROL]) if CONTROL in os.environ else None


def caller() -> tuple[int, int]:
    """Return the user and group for whom a builder in a container works."""
    user, _, group = os.environ[CALLER].partition(":")
    return int(user), int(group)


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def engine_here(processes: Processes) -> Engine:
    """Return the engine of this process."""
    folder = control()
    if folder is None:
        return HostEngine(processes)
    containers = RelayedContainers(folder, not_root(*caller()))
    if CAPABLE in os.environ:
        return HostEngine(processes, containers)
    return ContainerEngine(processes, containers)
