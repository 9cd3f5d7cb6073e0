# SPDX-License-Identifier: MIT
"""Login on the serial console."""

from collections.abc import Callable
from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_login(host: Host, board: Any, until: Callable[..., str]) -> None:
    """A login prompt is on the board's console."""
    port = board.console.partition(",")[0]
    assert port in host.file("/sys/class/tty/console/active").content_string.split()
    # SSH starts before the login prompt, on a slow board much earlier.
    until("systemctl is-active %s", f"serial-getty@{port}")


def test_autologin(host: Host, board: Any, parameters: Parameters) -> None:
    """The login asks for a name and a password unless automatic login is configured."""
    port = board.console.partition(",")[0]
    command = host.check_output(f"systemctl show --property=ExecStart serial-getty@{port}")
    assert ("--autologin" in command) == parameters["serial-console"]["autologin"]
