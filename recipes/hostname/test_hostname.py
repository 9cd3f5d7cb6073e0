# SPDX-License-Identifier: MIT
"""The host name."""

from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_hostname(host: Host, parameters: Parameters) -> None:
    """The board has the configured host name and resolves it."""
    name = parameters["hostname"]["name"]
    assert host.check_output("uname -n") == name
    assert host.check_output(f"getent hosts {name}").split()[1] == name
