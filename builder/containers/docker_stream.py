# SPDX-License-Identifier: MIT
"""Long requests to the Docker daemon, which can be stopped while the daemon sends nothing.

The daemon stops building or pulling when the client closes the connection.
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

_hooks_lock = threading.Lock()


@contextmanager
def event_stream(
    api: docker.APIClient, request: Callable[[], Iterable[Event]], processes: Processes
) -> Iterator[Iterator[Event]]:
    """Yield the events of a request that `request` sends; afterwards the connection is closed.

    Raises:
        Interrupted: `processes` were stopped.
    """
    stream = _Stream(api, request)
    with processes.registered(stream):
        try:
            yield stream.events(processes)
        finally:
            stream.close()


class _Stream:
    """A request in a thread of its own: until the daemon responds there is nothing to close."""

    def __init__(self, api: docker.APIClient, request: Callable[[], Iterable[Event]]) -> None:
        self._api = api
        self._request = request
        self._events: SimpleQueue[Event | BaseException | None] = SimpleQueue()
        self._response: Response | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="docker", daemon=True)

    def events(self, processes: Processes) -> Iterator[Event]:
        self._thread.start()
        while True:
            event = self._events.get()
            if processes.stopped:
                raise Interrupted("interrupted")
            if event is None:
                return
            if isinstance(event, BaseException):
                raise event
            yield event

    def kill(self) -> None:
        self.close()
        self._events.put(None)  # wakes the reader

    def close(self) -> None:
        with self._lock:
            self._closed = True
            response = self._response
        if response is not None:
            _close(response)

    def _read(self) -> None:
        try:
            with _hooked(self._api, self._on_response):
                for event in self._request():
                    self._events.put(event)
        except BaseException as error:  # noqa: BLE001 - raised where the events are read
            self._events.put(error)
        else:
            self._events.put(None)

    def _on_response(self, response: Response, **_: object) -> None:
        if threading.current_thread() is not self._thread:
            return  # the response to another thread's request
        with self._lock:
            self._response = response
            closed = self._closed
        if closed:
            _close(response)


@contextmanager
def _hooked(api: docker.APIClient, hook: Callable[..., None]) -> Iterator[None]:
    """Call a hook with every response, which the SDK does not expose.

    Lists of hooks are replaced, not changed: another thread may be iterating over one.
    """

    def change(hooks: Callable[[list[Any]], list[Any]]) -> None:
        with _hooks_lock:
            api.hooks = {**api.hooks, "response": hooks(api.hooks["response"])}

    change(lambda hooks: [*hooks, hook])
    try:
        yield
    finally:
        change(lambda hooks: [each for each in hooks if each != hook])


def _close(response: Response) -> None:
    """Shut down a response's connection, even while a thread reads from it.

    It may have ended by itself meanwhile. A connection by SSH ends with this process.
    """
    with suppress(OSError, AttributeError, DockerException):
        CancellableStream(iter(()), response).close()
