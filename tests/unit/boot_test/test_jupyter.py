# SPDX-License-Identifier: MIT
"""The boot stage at which Jupyter answers, with a slow server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from builder.boot_test.board import BootError
from builder.boot_test.jupyter import wait_for_jupyter


class Starting(BaseHTTPRequestHandler):
    """Refuses the first two requests."""

    def do_GET(self) -> None:
        asked = self.server.asked = getattr(self.server, "asked", 0) + 1  # type: ignore[attr-defined]
        self.send_response(200 if self.path == "/api" and asked > 2 else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server that is starting."""
    with HTTPServer(("127.0.0.1", 0), Starting) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_the_stage_is_reached_at_the_first_good_answer(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.boot_test.jupyter._POLL_SECONDS", 0.01)
    stage = wait_for_jupyter(port, started=time.monotonic() - 40, timeout=60)
    assert stage.name == "Jupyter"
    assert 40 < stage.seconds < 60


def test_a_server_that_does_not_answer_in_time_is_an_error(port: int) -> None:
    with pytest.raises(BootError, match="Jupyter does not answer within 0 s"):
        wait_for_jupyter(port, started=time.monotonic(), timeout=0.2)
