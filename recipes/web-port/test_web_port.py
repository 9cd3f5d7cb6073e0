# SPDX-License-Identifier: MIT
"""Jupyter at the board's address without a port."""

from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]

# Prints status, final host and path, and title of the page at a port, following redirections.
PAGE = """
import re, sys, urllib.request
with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/", timeout=600) as answer:
    title = re.search("<title>(.*?)</title>", answer.read().decode(), re.S)
    print(answer.status, answer.url, title and title[1].strip())
"""

# Prints the start of the answer to a browser that opens a terminal's channel without a login:
# Jupyter's refusal, not the proxy's.
UPGRADE = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=600) as connection:
    connection.sendall(
        b"GET /terminals/websocket/1 HTTP/1.1\\r\\nHost: board\\r\\nOrigin: http://board\\r\\n"
        b"Connection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n"
    )
    print(connection.recv(4096).split(b"\\r\\n")[0].decode())
"""


@pytest.fixture(scope="module")
def page(until: Callable[..., str], run_python: Callable[..., str], parameters: Parameters) -> str:
    """The page at the port, once Jupyter has started."""
    until(f"ss -Hltn sport = :{parameters['jupyter']['port']} | grep .", seconds=600)
    return run_python(PAGE, str(parameters["web-port"]["port"]))


def test_jupyter_answers(page: str, parameters: Parameters) -> None:
    """The port shows Jupyter's login page, without a redirection to another port."""
    status, url, title = page.split(" ", 2)
    port = parameters["web-port"]["port"]
    assert status == "200"
    assert "Jupyter" in title
    assert url.startswith(f"http://127.0.0.1:{port}/login")


@pytest.mark.usefixtures("page")
def test_channels_pass(run_python: Callable[..., str], parameters: Parameters) -> None:
    """WebSocket requests of notebooks reach Jupyter, which requires a login."""
    answer = run_python(UPGRADE, str(parameters["web-port"]["port"]))
    assert answer == "HTTP/1.1 403 Forbidden"


def test_only_a_socket_waits(host: Host) -> None:
    """Only systemd listens on the port; it starts the proxy at the first request."""
    assert host.service("web-port.socket").is_enabled
    assert host.check_output("systemctl is-enabled web-port.service") == "static"
