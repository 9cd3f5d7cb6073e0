# SPDX-License-Identifier: MIT
"""The container in which steps are carried out that need root's power.

Started as a program, by the relay (`builder.containers.broker`). Each connection to its socket brings a
task (`builder.scheduler.worker_client`) and takes away what its command says, and how it ended. Tasks are pickled,
so only who has the key (`builder.containers.capability_key`) may send one.
"""

from __future__ import annotations

import os
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from pathlib import Path

from builder.containers.broker import RelayedContainers
from builder.containers.capability_key import taken_key
from builder.engine.binfmt import register_binfmt
from builder.engine.engine import caller, control
from builder.errors import BuildError
from builder.sandbox.disk_space import full_disk_told
from builder.sandbox.process import Processes
from builder.scheduler.build_context import BuildContext
from builder.scheduler.ownership import give
from builder.scheduler.worker_client import SOCKET, Task
from builder.steps.step import Job
from builder.store.store import Store

_MOST_STEPS = 64
"""Steps that run at once: more than anybody asks for (`--jobs`)."""


def main() -> None:
    """Carry out the steps that come, until this process is killed."""
    folder = control()
    assert folder, "started by the builder alone"
    RelayedContainers(folder, "").stay()
    register_binfmt()
    address = folder / SOCKET
    toolboxes: dict[tuple[Path, bool], BuildContext] = {}
    with (
        Listener(str(address), "AF_UNIX", backlog=16, authkey=taken_key(folder)) as listener,
        # Its threads stay: commands die with the thread that started them (PR_SET_PDEATHSIG),
        # and workspaces outlive the step that opened them.
        ThreadPoolExecutor(_MOST_STEPS, thread_name_prefix="step") as pool,
    ):
        os.chown(address, *caller())
        address.chmod(0o600)
        while True:
            try:
                connection = listener.accept()
            except (AuthenticationError, EOFError, OSError):
                continue  # it was not the builder, or hung up at once
            try:
                task: Task = connection.recv()
            except (EOFError, OSError):
                # The builder has hung up, or could not send it; it knows.
                connection.close()
                continue
            which = (task.store, task.offline)
            if which not in toolboxes:
                toolboxes[which] = BuildContext(
                    Store(task.store), Processes(), offline=task.offline
                )
            pool.submit(carry_out, connection, task, toolboxes[which])


def carry_out(connection: Connection, task: Task, toolbox: BuildContext) -> None:
    """Carry out a step, and tell the other side what it says and how it ends, whatever happens."""
    lock = threading.Lock()

    def send(what: str, content: object = None) -> None:
        with lock, suppress(OSError):
            connection.send((what, content))

    try:
        if task.root:
            toolbox.turn_to(task.root)
        store = Store(task.store)
        try:
            with full_disk_told(task.store, task.log.parent), task.log.open("a") as log:
                task.step.run(
                    Job(
                        inputs=task.inputs,
                        output=task.output,
                        log=log,
                        store=store,
                        tools=toolbox,
                        on_line=lambda line: send("line", line),
                    )
                )
        finally:
            # The builder is not root: what it is to keep, or to remove, must be its own.
            for made in (task.output, store.root / "archives"):
                give(made, *caller())
    except BuildError as error:
        send("error", error)
    except BaseException:  # noqa: BLE001 - it is raised on the other side
        send("error", RuntimeError(traceback.format_exc()))
    else:
        send("done")
    connection.close()


if __name__ == "__main__":
    main()
