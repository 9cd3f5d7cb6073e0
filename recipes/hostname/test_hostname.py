# SPDX-License-Identifier: MIT
"""The board's name."""

from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_hostname(host: Host, parameters: Parameters) -> None:
    """The board has the configured name and can resolve it."""
    name = parameters["hostname"]["name"]
    assert host.check_output("uname -n") == name
    assert host.check_output(f"getent hosts {name}").split()[1] == name
