# SPDX-License-Identifier: MIT
"""Client of the worker, the container that runs steps that need capabilities.

The builder's own container has none. It starts the worker (`builder.scheduler.worker_server`) for
the first such step, and sends it all of them: layers unpacked for one step are there for the next.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from builder.containers.capability_key import take_key
from builder.containers.protocol import Channel, Line, StepRequest, exchange
from builder.engine.engine import ContainerEngine, control
from builder.errors import BuildError, Interrupted, StepError
from builder.sandbox.process import TAIL_LINES, Processes
from builder.scheduler.step_state import encode_step
from builder.steps.step import Job, Step

SOCKET = "steps"
"""Name of the worker's socket in the directory that both containers see."""

_START_SECONDS = 60
_END_SECONDS = 5


def step_request(step: Step, job: Job, *, root: str | None, offline: bool) -> StepRequest:
    """Return the request to run a step."""
    return StepRequest(
        step=encode_step(step),
        inputs={name: entry.key for name, entry in job.inputs.items()},
        output=job.output.absolute(),
        log=Path(job.log.name).absolute(),
        store=job.store.root.absolute(),
        root=root,
        offline=offline,
    )


class WorkerClient:
    """The worker, as the builder sees it. Use it as a context manager."""

    def __init__(self, engine: ContainerEngine) -> None:
        self._processes = engine.processes
        self._containers = engine.containers
        folder = control()
        assert folder
        self._folder = folder
        self._address = folder / SOCKET
        self._worker_processes = Processes()
        self._output: deque[str] = deque(maxlen=TAIL_LINES)
        self._failure: BuildError | None = None
        self._thread = threading.Thread(target=self._run_worker, name="worker")

    def __enter__(self) -> WorkerClient:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._worker_processes.stop()
        self._thread.join()
        # The broker may still be removing the container: the next worker's client must not find it.
        self._address.unlink(missing_ok=True)

    def run(self, request: StepRequest, on_line: Callable[[str], object]) -> None:
        """Run a step in the worker.

        Raises:
            BuildError: the step failed, or the worker ended.
            RuntimeError: the step met a bug.
        """
        with self._connected() as channel, self._processes.registered(channel):
            try:
                for answer in exchange(channel, request, take_key(self._folder)):
                    if isinstance(answer, Line):
                        on_line(answer.text)
            except OSError as error:
                raise self._worker_ended() from error

    def _connected(self) -> Channel:
        until = time.monotonic() + _START_SECONDS
        while self._thread.is_alive() and time.monotonic() < until:
            connection = socket.socket(socket.AF_UNIX)
            try:
                with suppress(FileNotFoundError, ConnectionRefusedError, PermissionError):
                    connection.connect(str(self._address))
                    return Channel(connection)
            except BaseException:
                connection.close()
                raise
            connection.close()
            time.sleep(0.05)
        raise self._worker_ended()

    def _run_worker(self) -> None:
        try:
            with self._processes.registered(self._worker_processes):
                self._containers.work(processes=self._worker_processes, on_line=self._output.append)
        except BuildError as error:
            self._failure = error

    def _worker_ended(self) -> BuildError:
        if self._processes.stopped:
            return Interrupted("interrupted")
        self._thread.join(_END_SECONDS)  # time to receive the reason
        self._worker_processes.stop()
        self._thread.join()
        if self._failure and not isinstance(self._failure, Interrupted):
            return self._failure
        return StepError(
            "the container that ran the step ended before the step", details=[*self._output]
        )
