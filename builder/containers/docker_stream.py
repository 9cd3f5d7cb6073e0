# SPDX-License-Identifier: MIT
"""Long talks with the Docker daemon, which end when they are stopped, also while it is silent.

It stops building or pulling when nobody listens any more: whoever stops a talk has to hang up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

import docker
from docker.errors import DockerException
from docker.types import CancellableStream
from requests import Response

from builder.errors import Interrupted
from builder.sandbox.process import Processes

Event = Mapping[str, Any]

_hooking = threading.Lock()


@contextmanager
def asked(
    api: docker.APIClient, ask: Callable[[], Iterable[Event]], processes: Processes
) -> Iterator[Iterator[Event]]:
    """Give what the daemon says while it does what `ask` asks it for; afterwards it is hung up.

    Raises:
        Interrupted: `processes` were told to stop.
    """
    talk = _Talk(api, ask)
    with processes.registered(talk):
        try:
            yield talk.events(processes)
        finally:
            talk.hang_up()


class _Talk:
    """A talk, in a thread of its own: before the daemon's first word there is nothing to close."""

    def __init__(self, api: docker.APIClient, ask: Callable[[], Iterable[Event]]) -> None:
        self._api = api
        self._ask = ask
        self._said: SimpleQueue[Event | BaseException | None] = SimpleQueue()
        self._response: Response | None = None
        self._over = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen, name="docker", daemon=True)

    def events(self, processes: Processes) -> Iterator[Event]:
        self._thread.start()
        while True:
            said = self._said.get()
            if processes.stopped:
                raise Interrupted("interrupted")
            if said is None:
                return
            if isinstance(said, BaseException):
                raise said
            yield said

    def kill(self) -> None:
        self.hang_up()
        self._said.put(None)  # who waits is to look

    def hang_up(self) -> None:
        with self._lock:
            self._over = True
            response = self._response
        if response is not None:
            _close(response)

    def _listen(self) -> None:
        try:
            with _hooked(self._api, self._answered):
                for event in self._ask():
                    self._said.put(event)
        except BaseException as error:  # noqa: BLE001 - raised where the events are read
            self._said.put(error)
        else:
            self._said.put(None)

    def _answered(self, response: Response, **_: object) -> None:
        if threading.current_thread() is not self._thread:
            return  # others talk to the daemon, too
        with self._lock:
            self._response = response
            over = self._over
        if over:
            _close(response)


@contextmanager
def _hooked(api: docker.APIClient, hook: Callable[..., None]) -> Iterator[None]:
    """Have a hook called with every response: the SDK itself shows none.

    Lists of hooks are replaced, not changed: another thread may be going through one.
    """

    def change(hooks: Callable[[list[Any]], list[Any]]) -> None:
        with _hooking:
            api.hooks = {**api.hooks, "response": hooks(api.hooks["response"])}

    change(lambda there: [*there, hook])
    try:
        yield
    finally:
        change(lambda there: [each for each in there if each != hook])


def _close(response: Response) -> None:
    """Shut a response's connection down, whoever is reading from it.

    It may have ended by itself meanwhile. A connection by SSH ends with this process.
    """
    with suppress(OSError, AttributeError, DockerException):
        CancellableStream(iter(()), response).close()
