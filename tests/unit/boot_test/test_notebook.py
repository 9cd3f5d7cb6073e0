# SPDX-License-Identifier: MIT
"""The notebook client waits for a server that is still starting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import requests

from builder.boot_test.notebook import Notebooks


class Server(ThreadingHTTPServer):
    """Server with Jupyter's login page; it delays its first answers by `silent` seconds."""

    def __init__(self, *silent: float) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.silent = [*silent]
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    """Handler of one request."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(f"GET {self.path}")
        if self.server.silent:
            time.sleep(self.server.silent.pop(0))
        self.send_response(200)
        self.send_header("Set-Cookie", "_xsrf=token")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(f"POST {self.path}")
        self.send_response(302)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(*silent: float) -> Iterator[Server]:
    with Server(*silent) as server:
        thread = Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.boot_test.notebook._REQUEST_SECONDS", 0.5)


def test_a_server_that_does_not_answer_in_time_is_asked_again() -> None:
    with serving(1.5) as server:
        Notebooks(f"http://127.0.0.1:{server.server_port}", "secret")
    assert server.asked == ["GET /login", "GET /login", "POST /login"]


def test_waiting_for_a_server_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.boot_test.notebook._START_SECONDS", 0)
    with serving(1) as server, pytest.raises(requests.Timeout):
        Notebooks(f"http://127.0.0.1:{server.server_port}", "secret")
    assert server.asked == ["GET /login"]
