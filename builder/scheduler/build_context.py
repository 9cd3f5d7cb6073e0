# SPDX-License-Identifier: MIT
"""Resources that the jobs of a build share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from builder.containers.containers import Containers
from builder.engine.engine import ContainerEngine, engine_here, processors
from builder.errors import UserError
from builder.sandbox.compiler_cache import CompilerCache
from builder.sandbox.process import Processes
from builder.sandbox.workspace import Workspace, killed_workspace_reported
from builder.scheduler.worker_client import WorkerClient, step_request
from builder.steps.step import Job, Shared, Step
from builder.store.store import Store

_LAYERS_SIZE = 4 << 30
"""Bytes of all layers of a root filesystem, unpacked."""


class BuildContext:
    """The resources that the jobs of one build share: the engine, and the workspace of the layers.

    In a container without capabilities, it sends steps that need some to a worker that has them.

    There is memory for one root filesystem at a time (`turn_to`).
    """

    def __init__(
        self,
        store: Store,
        processes: Processes,
        *,
        offline: bool = False,
        compiler_cache: CompilerCache | None = None,
    ) -> None:
        self.processes = processes
        self.compiler_cache = compiler_cache
        self._offline = offline
        self._store = store
        self._engine = engine_here(processes)
        self._open = ExitStack()
        self._open_worker = ExitStack()
        self._shared_workspace: Workspace | None = None
        self._shared: dict[Callable[[Workspace], Any], Any] = {}
        self._root: str | None = None
        self._lock = threading.Lock()
        self._worker: WorkerClient | None = None

    @property
    def jobs(self) -> int:
        """Number of processors that a step may use."""
        return processors()

    @property
    def containers(self) -> Containers:
        """Runner of containers, for tools that need a system of their own."""
        return self._engine.containers

    @contextmanager
    def workspace(self, name: str, *, need: int, network: bool = False) -> Iterator[Workspace]:
        """Open a workspace in a scratch directory of the store."""
        network = network and not self._offline
        with (
            self._store.scratch(name) as directory,
            self._engine.workspace(directory, need=need, network=network) as workspace,
        ):
            yield workspace

    def shared(self, create: Callable[[Workspace], Shared]) -> Shared:
        """Return the object that `create` makes in the workspace that all jobs share."""
        with self._lock:
            if self._shared_workspace is None:
                self._shared_workspace = self._open.enter_context(
                    self.workspace("layers", need=_LAYERS_SIZE)
                )
            if create not in self._shared:
                self._shared[create] = create(self._shared_workspace)
            made: Shared = self._shared[create]
            return made

    def turn_to(self, root: str) -> None:
        """Switch to another root filesystem, and remove the unpacked layers of the previous one.

        No step may be using the previous one.
        """
        with self._lock:
            if root != self._root:
                self._open.close()
                self._shared_workspace = None
                self._shared.clear()
                self._root = root

    def carry_out(self, step: Step, job: Job) -> None:
        """Run a step: in this process, or in the worker if it needs capabilities.

        Raises:
            UserError: the step downloads something, and the network may not be used.
        """
        if self._offline and step.fetches:
            raise UserError(
                f"--offline, but {step.name} has not been fetched yet",
                hint="run the build once with the network",
            )
        if not step.capabilities or not isinstance(self._engine, ContainerEngine):
            with killed_workspace_reported():
                step.run(job)
            if self._shared_workspace:
                self._shared_workspace.check_alive()
            return
        with self._lock:
            if self._worker is None:
                self._worker = self._open_worker.enter_context(WorkerClient(self._engine))
        request = step_request(step, job, root=self._root, offline=self._offline)
        self._worker.run(request, job.on_line)

    def __enter__(self) -> BuildContext:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as each:  # each of them is closed even if closing another one fails
            each.callback(self._engine.close)
            each.callback(self._open_worker.close)
            each.callback(self._open.close)
