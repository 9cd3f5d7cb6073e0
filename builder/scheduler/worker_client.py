# SPDX-License-Identifier: MIT
"""Steps that need root's power, carried out in a container that has it.

The builder in its own container has none. It has a second one started, with a workbench
(`builder.scheduler.worker_server`), when it comes to the first such step, and sends it all of them: the
layers that were unpacked for one are there for the next.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection
from pathlib import Path

from builder.containers.capability_key import taken_key
from builder.engine.engine import ContainerEngine, control
from builder.errors import BuildError, Interrupted, StepError
from builder.sandbox.process import TAIL_LINES, Processes
from builder.steps.step import Job, Step
from builder.store.store import Entry

SOCKET = "steps"
"""Name of the workbench's socket in the directory that both containers see."""

_START_SECONDS = 60
_END_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Task:
    """A step to be carried out, and all that its job is made of."""

    step: Step
    inputs: Mapping[str, Entry]
    output: Path
    log: Path
    store: Path
    root: str | None
    offline: bool

    @classmethod
    def of(cls, step: Step, job: Job, *, root: str | None, offline: bool) -> Task:
        """Return the task of a job."""
        return cls(
            step=step,
            inputs=job.inputs,
            output=job.output,
            log=Path(job.log.name),
            store=job.store.root,
            root=root,
            offline=offline,
        )


class WorkerClient:
    """The other container, from this side. Use it as a context manager."""

    def __init__(self, engine: ContainerEngine) -> None:
        self._processes = engine.processes
        self._containers = engine.containers
        folder = control()
        assert folder
        self._folder = folder
        self._address = folder / SOCKET
        self._own = Processes()
        self._said: deque[str] = deque(maxlen=TAIL_LINES)
        self._failure: BuildError | None = None
        self._life = threading.Thread(target=self._live, name="worker")

    def __enter__(self) -> WorkerClient:
        self._life.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._own.stop()
        self._life.join()

    def run(self, task: Task, on_line: Callable[[str], object]) -> None:
        """Have a step carried out.

        Raises:
            BuildError: what the step raised, or the container is gone.
        """
        with self._connected() as connection, self._processes.registered(_Ending(connection)):
            try:
                connection.send(task)
                while True:
                    what, content = connection.recv()
                    if what == "line":
                        on_line(content)
                    elif what == "error":
                        raise content
                    else:
                        return
            except (EOFError, OSError) as error:
                raise self._gone() from error

    def _connected(self) -> Connection:
        until = time.monotonic() + _START_SECONDS
        while self._life.is_alive() and time.monotonic() < until:
            with suppress(FileNotFoundError, ConnectionRefusedError, PermissionError):
                return Client(str(self._address), "AF_UNIX", authkey=taken_key(self._folder))
            time.sleep(0.05)
        raise self._gone()

    def _live(self) -> None:
        try:
            with self._processes.registered(_Stopping(self._own)):
                self._containers.work(processes=self._own, on_line=self._said.append)
        except BuildError as error:
            self._failure = error

    def _gone(self) -> BuildError:
        if self._processes.stopped:
            return Interrupted("interrupted")
        self._life.join(_END_SECONDS)  # it has a moment to say why
        self._own.stop()
        self._life.join()
        if self._failure and not isinstance(self._failure, Interrupted):
            return self._failure
        return StepError("the container that carried out the step is gone", details=[*self._said])


class _Ending:
    """Lets `Processes.stop` end a connection, whoever waits for something to come by it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def kill(self) -> None:
        # Closing it would not wake a thread that reads from it.
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)


class _Stopping:
    """Lets `Processes.stop` stop what others run."""

    def __init__(self, others: Processes) -> None:
        self.kill = others.stop
