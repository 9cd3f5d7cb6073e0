# SPDX-License-Identifier: MIT
"""Worker: the container that runs steps that need capabilities.

The broker (`builder.containers.broker`) starts it as a program. Each connection to its socket
carries the request for a step, and the step's lines and result (`builder.containers.protocol`).
"""

from __future__ import annotations

import os
import socket
import threading
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from builder.containers.broker import RelayedContainers
from builder.containers.capability_key import take_key
from builder.containers.protocol import (
    STEP_REQUESTS,
    Channel,
    Failure,
    Result,
    StepRequest,
    accept_request,
)
from builder.engine.binfmt import register_binfmt
from builder.engine.engine import caller, control
from builder.errors import BuildError, StepError
from builder.sandbox.disk_space import full_disk_told
from builder.sandbox.process import Processes
from builder.scheduler.build_context import BuildContext
from builder.scheduler.ownership import change_owner
from builder.scheduler.step_state import PACKAGES, decode_step
from builder.scheduler.worker_client import SOCKET
from builder.steps.step import Job
from builder.store.store import Entry, Store

_MAX_STEPS = 64
"""Steps that run at once: more than `--jobs` is ever set to."""


class Worker:
    """Runner of the steps that connections bring, of classes in `packages`."""

    def __init__(self, key: bytes, packages: Sequence[str] = PACKAGES) -> None:
        self._key = key
        self._packages = packages
        self._users = {caller()[0], 0}
        self._contexts: dict[tuple[Path, bool], BuildContext] = {}
        self._lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        """Receive a request, run its step and answer."""
        with Channel(connection) as channel:
            try:
                request = accept_request(channel, STEP_REQUESTS, key=self._key, users=self._users)
                if request is None:
                    return
                context = self._context(request)
            except BuildError as error:
                channel.finish(Failure.of(error))
            except (TimeoutError, ConnectionError):
                return  # the peer hung up, or sent nothing
            except Exception:  # noqa: BLE001 - raised in the builder
                channel.finish(Failure(kind="bug", message=traceback.format_exc()))
            else:
                run_step(channel, request, context, self._packages)

    def _context(self, request: StepRequest) -> BuildContext:
        key = (request.store, request.offline)
        with self._lock:
            if key not in self._contexts:
                self._contexts[key] = BuildContext(
                    Store(request.store), Processes(), offline=request.offline
                )
            return self._contexts[key]


def main(packages: Sequence[str] = PACKAGES) -> None:
    """Run the steps that connections bring, until this process is killed."""
    folder = control()
    assert folder, "only the builder starts this"
    RelayedContainers(folder, "").exit_with_broker()
    register_binfmt()
    worker = Worker(take_key(folder), packages)
    with (
        _listening(folder / SOCKET) as listener,
        # Its threads live as long as the worker: commands die with the thread that started them
        # (PR_SET_PDEATHSIG), and workspaces outlive the step that opened them.
        ThreadPoolExecutor(_MAX_STEPS, thread_name_prefix="step") as pool,
    ):
        while True:
            connection, _ = listener.accept()
            pool.submit(worker.serve, connection)


def _listening(address: Path) -> socket.socket:
    """Return a socket at `address` that the caller alone may connect to."""
    address.unlink(missing_ok=True)  # of an earlier worker, which was killed
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(address))
    os.chown(address, *caller())
    address.chmod(0o600)
    listener.listen(16)
    return listener


def run_step(
    channel: Channel,
    request: StepRequest,
    context: BuildContext,
    packages: Sequence[str] = PACKAGES,
) -> None:
    """Run a step, and send its lines and its result, whatever happens."""
    try:
        step = decode_step(request.step, packages)
        if request.root:
            context.turn_to(request.root)
        store = Store(request.store)
        try:
            with (
                full_disk_told(request.store, request.log.parent),
                request.log.open("a") as log,
            ):
                job = Job(
                    inputs=_inputs(store, request.inputs),
                    output=request.output,
                    log=log,
                    store=store,
                    tools=context,
                    on_line=channel.send_lines,
                )
                context.carry_out(step, job)
        finally:
            # The builder is not root: it can keep or remove only what it owns.
            for path in (request.output, store.root / "archives"):
                change_owner(path, *caller())
    except BuildError as error:
        channel.finish(Failure.of(error))
    except BaseException:  # noqa: BLE001 - raised in the builder
        channel.finish(Failure(kind="bug", message=traceback.format_exc()))
    else:
        channel.finish(Result())


def _inputs(store: Store, keys: Mapping[str, str]) -> dict[str, Entry]:
    """Return the entries of a step's inputs.

    Raises:
        StepError: one is not in the store.
    """
    found: dict[str, Entry] = {}
    for name, key in keys.items():
        entry = store.get(key)
        if entry is None:
            raise StepError(f"the output of {name} is no longer in the store", hint="build again")
        found[name] = entry
    return found


if __name__ == "__main__":
    main()
