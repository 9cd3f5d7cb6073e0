# SPDX-License-Identifier: MIT
"""Broker of containers for a builder that runs in one, and the builder's client of it.

No container gets the Docker socket, which gives power over the whole machine. Instead the process
that starts the builder's container listens at a socket (`builder.containers.protocol`). It makes
images that it knows by name, and runs containers that mount nothing but parts of what the builder's
container mounts.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingUnixStreamServer
from typing import IO, TypeAlias, cast

from builder.containers.capability_key import VARIABLE, create_key, take_key
from builder.containers.containers import Container, Containers, ImageRecipe, Mount
from builder.containers.protocol import (
    BROKER_REQUESTS,
    Answer,
    BrokerRequest,
    Channel,
    Failure,
    ImageRequest,
    Line,
    LogText,
    RequestedMount,
    Result,
    RunRequest,
    WatchRequest,
    WorkRequest,
    accept_request,
    exchange,
)
from builder.containers.shared_paths import SharedPaths
from builder.errors import BuildError, Interrupted, StepError
from builder.sandbox.process import Processes, Transcript

SOCKET = "containers"
"""Name of the socket in the directory that both processes see."""

_POLL_SECONDS = 0.05
"""Interval at which the server checks whether to end: closing may take as long."""

FindRecipe: TypeAlias = Callable[[str, str], ImageRecipe]
"""Returns the recipe of an image by its name and that of a distribution; raises a BuildError."""


class ContainerBroker(ThreadingUnixStreamServer):
    """Server at `folder`/SOCKET. Use it as a context manager.

    Requested containers have no capabilities, belong to the caller, are made of images that
    `find_recipe` knows, and mount parts of what `worker` mounts, read-only where it does. `worker`
    is the one container with capabilities, for the builder's own steps
    (`builder.scheduler.worker_client`).
    """

    daemon_threads = False  # closing waits until all containers are gone

    def __init__(
        self, folder: Path, containers: Containers, worker: Container, find_recipe: FindRecipe
    ) -> None:
        address = folder / SOCKET
        super().__init__(str(address), _Handler)
        address.chmod(0o600)
        self.containers = containers
        self.find_recipe = find_recipe
        self.key = create_key(folder)
        self.worker = replace(worker, environment={**worker.environment, VARIABLE: self.key.hex()})
        self.images = {worker.image}
        self.users = {os.getuid(), 0}  # root is the worker
        self.processes = Processes()
        # The directory of the sockets and the key is for the builder and its worker alone.
        self.shared = SharedPaths([each for each in worker.mounts if each.target != folder])

    def __enter__(self) -> ContainerBroker:
        threading.Thread(target=self.serve_forever, args=[_POLL_SECONDS], name="broker").start()
        return self

    def __exit__(self, *_: object) -> None:
        self.processes.stop()
        self.shutdown()
        self.server_close()
        self.shared.close()


class _Handler(BaseRequestHandler):
    """Handler of one request. When the client hangs up, all that it requested is stopped."""

    server: ContainerBroker

    def handle(self) -> None:
        with (
            Channel(self.request) as channel,
            suppress(Interrupted, OSError),
            self.server.processes.registered(channel),
        ):
            try:
                request = accept_request(
                    channel, BROKER_REQUESTS, key=self.server.key, users=self.server.users
                )
                if request:
                    channel.finish(Result(value=self._answer(channel, request)))
            except BuildError as error:
                channel.finish(Failure.of(error))

    def _answer(self, channel: Channel, request: BrokerRequest) -> str:
        processes = Processes()

        def watch() -> None:
            channel.wait()
            processes.stop()

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        match request:
            case ImageRequest():
                return self._make_image(channel, request, processes)
            case RunRequest():
                self._run(channel, self._container(request), processes)
            case WorkRequest():
                self._run(channel, self.server.worker, processes)
            case WatchRequest():
                watching.join()
        return ""

    def _make_image(self, channel: Channel, request: ImageRequest, processes: Processes) -> str:
        recipe = self.server.find_recipe(request.name, request.distribution)

        def log(text: str) -> None:
            with suppress(OSError):
                channel.send(LogText(text=text))

        image = self.server.containers.image(
            recipe,
            processes=processes,
            log=cast(IO[str], _LogWriter(log)),
            say=channel.send_lines,
            offline=request.offline,
        )
        self.server.images.add(image)
        return image

    def _container(self, request: RunRequest) -> Container:
        if request.image not in self.server.images:
            raise StepError(f"the image {request.image} was not made for this builder")
        return Container(
            image=request.image,
            argv=request.argv,
            user=self.server.containers.user,
            mounts=[
                Mount(
                    source=self.server.shared.resolve(each.source, read_only=each.read_only),
                    target=each.target,
                    read_only=each.read_only,
                )
                for each in request.mounts
            ],
            environment=request.environment,
            cwd=request.cwd,
            network=request.network,
            secret=request.secret,
        )

    def _run(self, channel: Channel, container: Container, processes: Processes) -> None:
        self.server.containers.run(container, processes=processes, on_line=channel.send_lines)


class _LogWriter:
    """The part of a text file that writers of logs use."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write

    def flush(self) -> None:
        """Do nothing: text is sent at once."""


class RelayedContainers:
    """Docker for a builder in a container, by way of the broker."""

    def __init__(self, folder: Path, user: str) -> None:
        self._folder = folder
        self._user = user

    @property
    def user(self) -> str:
        """User of commands that refuse to run as root ("UID:GID")."""
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
        """Return the tag of a recipe's image, and make it first if it does not exist.

        The broker has the recipe itself, and finds it by its name and distribution.
        """
        request = ImageRequest(name=recipe.name, distribution=recipe.distribution, offline=offline)
        for answer in self._answers(request, processes):
            match answer:
                case LogText():
                    log.write(answer.text)
                case Line():
                    say(answer.text)
                case Result():
                    return answer.value
        raise AssertionError("the last answer is a result")

    def run(
        self,
        container: Container,
        *,
        processes: Processes,
        log: IO[str] | None = None,
        on_line: Callable[[str], object] | None = None,
    ) -> str:
        """Run a command in a container to its end and return its standard output and error."""
        transcript = Transcript(shlex.join(container.argv), log=log, on_line=on_line)
        for answer in self._answers(_request(container), processes):
            if isinstance(answer, Line):
                transcript.add(f"{answer.text}\n")
        return transcript.text

    def work(self, *, processes: Processes, on_line: Callable[[str], object]) -> None:
        """Run the container with capabilities, which runs steps, to its end."""
        for answer in self._answers(WorkRequest(), processes):
            if isinstance(answer, Line):
                on_line(answer.text)

    def exit_with_broker(self) -> None:
        """End this process, as Ctrl-C would, when the broker ends."""

        def watch() -> None:
            with suppress(OSError, BuildError):
                for _ in self._answers(WatchRequest(), Processes()):
                    pass
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, name="watch-broker", daemon=True).start()

    def _answers(
        self,
        request: ImageRequest | RunRequest | WorkRequest | WatchRequest,
        processes: Processes,
    ) -> Iterator[Answer]:
        with _connected(self._folder / SOCKET) as channel, processes.registered(channel):
            try:
                yield from exchange(channel, request, take_key(self._folder))
            except OSError as error:
                raise Interrupted("interrupted") from error


def _request(container: Container) -> RunRequest:
    """Return the request for a container. The broker refuses symbolic links: none are left here."""
    return RunRequest(
        image=container.image,
        argv=tuple(container.argv),
        mounts=tuple(
            RequestedMount(
                source=each.source.resolve(), target=each.target, read_only=each.read_only
            )
            for each in container.mounts
        ),
        environment={**container.environment},
        cwd=container.cwd,
        network=container.network,
        secret=tuple(container.secret),
    )


@contextmanager
def _connected(address: Path) -> Iterator[Channel]:
    connection = socket.socket(socket.AF_UNIX)
    with Channel(connection) as channel:
        connection.connect(str(address))
        yield channel
