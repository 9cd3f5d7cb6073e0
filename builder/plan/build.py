# SPDX-License-Identifier: MIT
"""Carries out a plan: steps side by side, each into the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path

from builder.engine.host import HostEngine
from builder.engine.process import Processes
from builder.engine.workspace import Workspace
from builder.errors import BuildError, CommandError, Interrupted
from builder.plan.plan import Planned
from builder.report.events import (
    Listener,
    StepFailed,
    StepFinished,
    StepKept,
    StepProgress,
    StepStarted,
)
from builder.steps.layers import LayerStack
from builder.steps.step import Job, Step
from builder.store.store import Entry, Store

_LAYERS_NEED = 4 << 30
"""Bytes that all layers of a root filesystem take, unpacked."""


class StepFailure(BuildError):
    """A step failed: the error is `cause`, its output is in `log`."""

    def __init__(self, step: Step, cause: BuildError, log: Path) -> None:
        super().__init__(
            f"step {step.name} failed: {cause.message}", hint=cause.hint, details=cause.details
        )
        self.step = step.name
        self.has_shell = type(step).shell is not Step.shell
        self.log = log
        self.replay = cause.replay if isinstance(cause, CommandError) else None
        self.cause = cause


class Toolbox:
    """What the jobs of one build share: the engine, and the one stack of layers."""

    def __init__(self, store: Store, processes: Processes, *, offline: bool = False) -> None:
        self.processes = processes
        self._offline = offline
        self._store = store
        self._engine = HostEngine(processes)
        self._open = ExitStack()
        self._layers: LayerStack | None = None
        self._lock = threading.Lock()

    @property
    def jobs(self) -> int:
        """Processors that a step may use."""
        return self._engine.jobs

    @contextmanager
    def workspace(self, name: str, *, need: int, network: bool = False) -> Iterator[Workspace]:
        """Open a workspace in a scratch directory of the store."""
        network = network and not self._offline
        with (
            self._store.scratch(name) as directory,
            self._engine.workspace(directory, need=need, network=network) as workspace,
        ):
            yield workspace

    def layers(self) -> LayerStack:
        """Return the build's stack of layers."""
        with self._lock:
            if self._layers is None:
                workspace = self._open.enter_context(self.workspace("layers", need=_LAYERS_NEED))
                self._layers = LayerStack(workspace)
            return self._layers

    def __enter__(self) -> Toolbox:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


class Build:
    """One run of a plan. Logs go to `logs`, one a step; `jobs` steps run at once."""

    def __init__(
        self,
        plan: Sequence[Planned],
        *,
        store: Store,
        logs: Path,
        listener: Listener,
        processes: Processes,
        jobs: int,
        offline: bool = False,
    ) -> None:
        self._plan = plan
        self._store = store
        self._logs = logs
        self._listener = listener
        self._processes = processes
        self._jobs = jobs
        self._offline = offline
        self._planned = {item.step: item for item in plan}

    def run(self) -> dict[Step, Entry]:
        """Make everything that is not kept; return all entries that there are.

        Raises:
            StepFailure: a step failed; the others were stopped.
            Interrupted: the user asked to stop.
        """
        entries: dict[Step, Entry] = {}
        waiting: list[Planned] = []
        for item in self._plan:
            entry = self._store.get(item.key)
            if entry:
                entries[item.step] = entry
                self._listener(StepKept(step=item.step.name))
            elif item.needed:
                waiting.append(item)
        if waiting:
            with Toolbox(self._store, self._processes, offline=self._offline) as toolbox:
                self._run(waiting, entries, toolbox)
        return entries

    def _run(self, waiting: list[Planned], entries: dict[Step, Entry], toolbox: Toolbox) -> None:
        running: dict[Future[Entry], Planned] = {}
        failure: BaseException | None = None
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="step") as pool:
            try:
                while waiting or running:
                    ready = [
                        item
                        for item in waiting
                        if all(parent in entries for parent in item.step.parents.values())
                    ]
                    for item in ready[: self._jobs - len(running)]:
                        waiting.remove(item)
                        inputs = {
                            name: entries[parent] for name, parent in item.step.parents.items()
                        }
                        running[pool.submit(self._build, item, inputs, toolbox)] = item
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        entries[running.pop(future).step] = future.result()
            except BaseException as error:  # noqa: BLE001 - raised again below
                failure = error
                # What still runs is of no use any more; a killed step leaves nothing behind.
                self._processes.stop()
        if isinstance(failure, KeyboardInterrupt):
            raise Interrupted("interrupted") from failure
        if failure:
            raise failure

    def _build(self, item: Planned, inputs: Mapping[str, Entry], toolbox: Toolbox) -> Entry:
        """Make one step's entry, unless another build has just done so."""
        step = item.step
        log_path = self._logs / f"{step.name.replace(':', '-')}.log"

        def say(line: str) -> None:
            self._listener(StepProgress(step=step.name, line=line))

        with self._store.building(
            item.key,
            on_wait=lambda: say("waiting for another build that makes the same"),
            stopped=lambda: self._processes.stopped,
        ):
            kept = self._store.get(item.key)
            if kept:
                self._listener(StepKept(step=step.name))
                return kept
            self._listener(StepStarted(step=step.name, reason=item.reason or "", log=log_path))
            started = time.monotonic()
            try:
                with log_path.open("w") as log:
                    job = Job(
                        inputs=inputs,
                        output=self._store.draft(item.key),
                        log=log,
                        store=self._store,
                        tools=toolbox,
                        on_line=say,
                    )
                    step.run(job)
                seconds = time.monotonic() - started
                entry = self._store.commit(
                    item.key, step=step.name, components=item.components, seconds=seconds
                )
            except BaseException as error:
                self._store.discard(item.key)
                seconds = time.monotonic() - started
                was_stopped = self._processes.stopped
                self._listener(
                    StepFailed(
                        step=step.name,
                        seconds=seconds,
                        message=str(error),
                        stopped=was_stopped,
                    )
                )
                if was_stopped:
                    # Whatever it is, it comes from the ground having been pulled away.
                    raise Interrupted("stopped") from error
                if isinstance(error, BuildError):
                    raise StepFailure(step, error, log_path) from error
                raise
            self._store.remember(step.scope, step.name, item.components)
            self._listener(StepFinished(step=step.name, seconds=seconds, size=entry.size))
            return entry
