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
from builder.sandbox.workspace import Workspace
from builder.scheduler.worker_client import Task, WorkerClient
from builder.steps.step import Job, Shared, Step
from builder.store.store import Store

_SHARED_NEED = 4 << 30
"""Bytes that all layers of a root filesystem take, unpacked."""


class BuildContext:
    """The shared resources of one build's jobs: the engine, and the one stack of layers.

    In a container without capabilities, steps that need some go to a worker that has them.

    There is memory for one root filesystem: boards with different ones take turns (`turn_to`).
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
        """Processors that a step may use."""
        return processors()

    @property
    def containers(self) -> Containers:
        """Who runs containers, for tools that need a system of their own."""
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
        """Return the object that `create` makes, in the workspace that the build's jobs share."""
        with self._lock:
            if self._shared_workspace is None:
                self._shared_workspace = self._open.enter_context(
                    self.workspace("layers", need=_SHARED_NEED)
                )
            if create not in self._shared:
                self._shared[create] = create(self._shared_workspace)
            made: Shared = self._shared[create]
            return made

    def turn_to(self, root: str) -> None:
        """Begin work on this root filesystem: what was unpacked of another one is removed.

        No step may be at work in the other one.
        """
        with self._lock:
            if root != self._root:
                self._open.close()
                self._shared_workspace = None
                self._shared.clear()
                self._root = root

    def carry_out(self, step: Step, job: Job) -> None:
        """Run a step: here, or where it has the capabilities that it needs.

        Raises:
            UserError: it fetches something, and the network may not be used.
        """
        if self._offline and step.fetches:
            raise UserError(f"--offline, but {step.name} has not been fetched yet")
        if not step.capabilities or not isinstance(self._engine, ContainerEngine):
            step.run(job)
            return
        with self._lock:
            if self._worker is None:
                self._worker = self._open_worker.enter_context(WorkerClient(self._engine))
        self._worker.run(Task.of(step, job, root=self._root, offline=self._offline), job.on_line)

    def __enter__(self) -> BuildContext:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as each:  # all of it ends, whatever goes wrong with one
            each.callback(self._engine.close)
            each.callback(self._open_worker.close)
            each.callback(self._open.close)
