# SPDX-License-Identifier: MIT
"""Long requests to a Docker daemon at a real socket, which then sends nothing."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import cast

import docker
import pytest

from builder.containers.containers import ImageRecipe
from builder.containers.docker_stream import event_stream
from builder.containers.images import make_image
from builder.errors import Interrupted
from builder.sandbox.process import Processes

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
FACTS = b'{"Id": "sha256:1", "message": "no such image"}'
WAIT = 10
"""Seconds after which a test fails."""


class Server(ThreadingUnixStreamServer):
    """A daemon without images; `answer` is its response to requests to build or to pull."""

    daemon_threads = True

    def __init__(self, path: Path, answer: bytes) -> None:
        super().__init__(str(path), Handler)
        self.answer = answer
        self.here: set[str] = set()
        self.requested = threading.Event()
        self.left = threading.Event()


class Handler(StreamRequestHandler):
    def handle(self) -> None:
        server = cast(Server, self.server)
        while line := self.rfile.readline():
            verb, path, _ = line.decode().split()
            while self.rfile.readline().strip():
                pass
            if verb == "GET":
                there = any(f"/images/{each}/json" in path for each in server.here)
                status = b"200 OK" if there else b"404 Not Found"
                size = b"\r\nContent-Length: %d\r\n\r\n" % len(FACTS)
                self.wfile.write(b"HTTP/1.1 " + status + size + FACTS)
                continue
            self.wfile.write(server.answer)
            server.requested.set()
            while self.rfile.read(1):  # what is left of the request, then the end
                pass
            server.left.set()
            return


def chunk(text: str) -> bytes:
    return f"{len(text):x}\r\n{text}\r\n".encode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "docker.sock", b"") as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def client(server: Server) -> Iterator[docker.DockerClient]:
    opened = docker.DockerClient(f"unix://{server.server_address!s}", version="1.41")
    yield opened
    opened.close()


@pytest.fixture
def recipe(tmp_path: Path) -> ImageRecipe:
    folder = tmp_path / "tool"
    folder.mkdir()
    (folder / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN sleep 600\n")
    return ImageRecipe(name="tool", base="debian:test", suite="test", sources="", folder=folder)


@pytest.mark.parametrize("what", ["build", "pull"])
@pytest.mark.parametrize(
    "answer", [b"", HEADERS, HEADERS + chunk('{"stream": "Step 3/3 : RUN sleep 600\\n"}\r\n')]
)
def test_a_request_to_a_silent_daemon_is_stopped(
    server: Server, client: docker.DockerClient, recipe: ImageRecipe, what: str, answer: bytes
) -> None:
    server.answer = answer
    if what == "build":
        server.here.add("debian:test")
    processes = Processes()

    def stop() -> None:
        server.requested.wait(WAIT)
        time.sleep(0.1)  # what it said has come
        processes.stop()

    threading.Thread(target=stop).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        make_image(client, recipe, processes=processes, log=io.StringIO(), say=lambda _: None)
    assert time.monotonic() - began < WAIT / 2
    if answer:
        assert server.left.wait(WAIT), "then a daemon stops building"
    assert "response" in client.api.hooks


def test_a_late_response_after_a_stop_is_closed(
    server: Server, client: docker.DockerClient
) -> None:
    answer, server.answer = HEADERS, b""
    processes = Processes()
    connections: list[socket.socket] = []
    get_request = server.get_request

    def remember() -> tuple[socket.socket, object]:
        connection, address = get_request()
        connections.append(connection)
        return connection, address

    server.get_request = remember  # type: ignore[method-assign]

    def stop() -> None:
        server.requested.wait(WAIT)
        processes.stop()

    threading.Thread(target=stop).start()
    with (
        pytest.raises(Interrupted),
        event_stream(client.api, lambda: client.api.pull("a:b", stream=True), processes) as events,
    ):
        list(events)
    assert not server.left.is_set()
    connections[-1].sendall(answer)
    assert server.left.wait(WAIT)


def test_leaving_the_context_closes_the_connection(
    server: Server, client: docker.DockerClient, processes: Processes
) -> None:
    """For example by Ctrl-C in the main thread, or an error in the handling of an event."""
    server.answer = HEADERS + chunk('{"status": "one"}\r\n')

    def pull() -> Iterator[dict[str, str]]:
        yield from client.api.pull("a:b", stream=True, decode=True)

    with event_stream(client.api, pull, processes) as events:
        assert next(events) == {"status": "one"}
    assert server.left.wait(WAIT)


def test_concurrent_requests_are_independent(server: Server, client: docker.DockerClient) -> None:
    server.answer = HEADERS + chunk('{"status": "one"}\r\n')
    first, second = Processes(), Processes()

    def pull() -> Iterator[dict[str, str]]:
        yield from client.api.pull("a:b", stream=True, decode=True)

    with (
        event_stream(client.api, pull, first) as one,
        event_stream(client.api, pull, second) as two,
    ):
        assert next(one) == next(two) == {"status": "one"}
        first.stop()
        with pytest.raises(Interrupted):
            next(one)
        assert server.left.wait(WAIT)
        server.left.clear()
        assert not server.left.wait(0.2), "the second goes on"
    assert server.left.wait(WAIT)
    for _ in range(100):
        if not client.api.hooks["response"]:
            break
        time.sleep(0.05)  # their threads notice it
    else:
        pytest.fail("it still listens to what others are told")


def test_a_stopped_build_starts_no_image(
    server: Server, client: docker.DockerClient, recipe: ImageRecipe
) -> None:
    server.here.add("debian:test")
    processes = Processes()
    processes.stop()
    with pytest.raises(Interrupted):
        make_image(
            client,
            replace(recipe, name="other"),
            processes=processes,
            log=io.StringIO(),
            say=lambda _: None,
        )
    assert not server.requested.is_set()
