# SPDX-License-Identifier: MIT
"""Containers for a builder that is in one itself: the process that started it makes them.

The Docker socket would be the key to the whole machine, so no container gets it. Instead the
process outside listens at a socket of its own and answers these requests, one a connection, each
a line of JSON: make the image of a recipe, run a container, say that you are still there. It
mounts and reads nothing that it does not show to the builder anyway.
"""

from __future__ import annotations

import hmac
import json
import os
import shlex
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import IO, Any, cast

from builder.containers.capability_key import VARIABLE, leave_key, taken_key
from builder.containers.containers import Container, Containers, ImageRecipe, Mount
from builder.errors import (
    BuildError,
    CommandError,
    HostError,
    Interrupted,
    StepError,
    UserError,
    restored,
)
from builder.sandbox.process import Processes, Transcript

SOCKET = "containers"
"""Name of the socket in the directory that both sides see."""

_ERRORS = {
    each.__name__: each for each in (CommandError, HostError, Interrupted, StepError, UserError)
}

_POLL_SECONDS = 0.05
"""How often the server looks whether it is to end: so long may closing take."""


class ContainerBroker(ThreadingUnixStreamServer):
    """Answers at `folder`/SOCKET, in threads, while it is open.

    Containers that are asked for have no capabilities, belong to the caller, and may see what
    `worker` is shown, as read-only as it is there. `worker` is the one container that has some: for
    the builder's own steps (`builder.scheduler.worker_client`). Who asks for it needs the key.
    """

    daemon_threads = False  # closing waits until all containers are gone

    def __init__(self, folder: Path, containers: Containers, worker: Container) -> None:
        super().__init__(str(folder / SOCKET), _Request)
        self.containers = containers
        self.key = leave_key(folder)
        self.worker = replace(worker, environment={**worker.environment, VARIABLE: self.key.hex()})
        self.processes = Processes()

    def __enter__(self) -> ContainerBroker:
        threading.Thread(target=self.serve_forever, args=[_POLL_SECONDS], name="relay").start()
        return self

    def __exit__(self, *_: object) -> None:
        self.processes.stop()
        self.shutdown()
        self.server_close()

    def shown(self, path: Path, *, read_only: bool = True) -> Path:
        """Return a path that the builder is shown, without links.

        Raises:
            StepError: the builder is not shown it, or is not to write to it.
        """
        real = path.resolve()
        for mount in self.worker.mounts:
            if real.is_relative_to(mount.source) and (read_only or not mount.read_only):
                return real
        how = "" if read_only else " to write to"
        raise StepError(f"{path} is not shown to the builder{how}")


class _Request(StreamRequestHandler):
    """One request; when the other side hangs up, what it asked for is stopped."""

    server: ContainerBroker

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line:
            return
        ((verb, given),) = json.loads(line).items()
        processes = Processes()
        with suppress(Interrupted), self.server.processes.registered(_Stopping(processes)):
            watching = threading.Thread(target=self._watch, args=[processes], daemon=True)
            watching.start()
            if verb == "stay":
                watching.join()
                return
            try:
                result = getattr(self, f"_{verb}")(given, processes)
            except BuildError as error:
                self._send(error=type(error).__name__, facts=vars(error))
            else:
                self._send(result=result)

    def _image(self, given: dict[str, Any], processes: Processes) -> str:
        offline, shown = given.pop("offline"), self.server.shown
        recipe = ImageRecipe(
            **{
                **given,
                "folder": shown(Path(given["folder"])),
                "files": {name: shown(Path(path)) for name, path in given["files"].items()},
            }
        )
        return self.server.containers.image(
            recipe,
            processes=processes,
            log=cast(IO[str], _Lines(lambda text: self._send(log=text))),
            say=lambda text: self._send(say=text),
            offline=offline,
        )

    def _run(self, given: dict[str, Any], processes: Processes) -> None:
        mounts = [
            Mount(
                source=self.server.shown(Path(each["source"]), read_only=each["read_only"]),
                target=Path(each["target"]),
                read_only=each["read_only"],
            )
            for each in given["mounts"]
        ]
        plain = {
            "mounts": mounts,
            "cwd": Path(given["cwd"]),
            "capabilities": (),
            "user": self.server.containers.user,
        }
        self.server.containers.run(
            Container(**{**given, **plain}),
            processes=processes,
            on_line=lambda line: self._send(line=line),
        )

    def _work(self, given: dict[str, Any], processes: Processes) -> None:
        if not hmac.compare_digest(given["key"], self.server.key.hex()):
            raise StepError("only the builder itself may start the container with capabilities")
        self.server.containers.run(
            self.server.worker, processes=processes, on_line=lambda line: self._send(line=line)
        )

    def _watch(self, processes: Processes) -> None:
        with suppress(OSError, ValueError):
            self.rfile.read(1)
        processes.stop()

    def _send(self, **message: object) -> None:
        with suppress(OSError):  # who hung up is not interested any more
            self.wfile.write(f"{json.dumps(message)}\n".encode())


class _Stopping:
    """Lets `Processes.stop` stop what another one runs."""

    def __init__(self, processes: Processes) -> None:
        self.kill = processes.stop


class _Lines:
    """The part of a log file that writers of logs use."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write

    def flush(self) -> None:
        """Do nothing: lines are sent at once."""


class RelayedContainers:
    """Docker for a builder in a container: through the relay of the process that started it."""

    def __init__(self, folder: Path, user: str) -> None:
        self._folder = folder
        self._address = str(folder / SOCKET)
        self._user = user

    @property
    def user(self) -> str:
        """Who commands are that refuse to be root ("UID:GID")."""
        return self._user

    def image(
        self,
        recipe: ImageRecipe,
        *,
        processes: Processes,
        log: IO[str],
        say: Callable[[str], object],
        offline: bool = False,
    ) -> str:
        """Return the tag of the image that a recipe describes, which is made if need be."""
        for answer in self._ask("image", {**asdict(recipe), "offline": offline}, processes):
            if "log" in answer:
                log.write(answer["log"])
            elif "say" in answer:
                say(answer["say"])
            elif "result" in answer:
                return str(answer["result"])
        raise Interrupted("interrupted")

    def run(
        self,
        container: Container,
        *,
        processes: Processes,
        log: IO[str] | None = None,
        on_line: Callable[[str], object] | None = None,
    ) -> str:
        """Run a command in a container to its end and return its standard output and error."""
        said = Transcript(shlex.join(container.argv), log=log, on_line=on_line)
        for answer in self._ask("run", asdict(container), processes):
            if "line" in answer:
                said.add(f"{answer['line']}\n")
            elif "result" in answer:
                return said.text
        raise Interrupted("interrupted")

    def work(self, *, processes: Processes, on_line: Callable[[str], object]) -> None:
        """Run the container with capabilities, which carries out steps, to its end."""
        key = taken_key(self._folder).hex()
        for answer in self._ask("work", {"key": key}, processes):
            if "line" in answer:
                on_line(answer["line"])

    def stay(self) -> None:
        """End this process, as Ctrl-C would, when the one that started it is gone."""

        def watch() -> None:
            with suppress(OSError):
                for _ in self._ask("stay", {}, Processes()):
                    pass
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, name="stay", daemon=True).start()

    def _ask(
        self, verb: str, given: Mapping[str, Any], processes: Processes
    ) -> Iterator[dict[str, Any]]:
        with (
            _connected(self._address) as connection,
            processes.registered(_Hanging(connection)),
            connection.makefile("rw") as file,
            suppress(OSError),
        ):
            file.write(f"{json.dumps({verb: given}, default=str)}\n")
            file.flush()
            for line in file:
                answer = json.loads(line)
                if "error" in answer:
                    facts = answer["facts"]
                    facts["details"] = tuple(facts["details"])
                    raise restored(_ERRORS[answer["error"]], facts)
                yield answer
        if processes.stopped:
            raise Interrupted("interrupted")


class _Hanging:
    """Lets `Processes.stop` hang up."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def kill(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def _connected(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        yield connection
