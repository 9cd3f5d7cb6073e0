# SPDX-License-Identifier: MIT
"""The command show-ip."""

import json
from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_command(host: Host) -> None:
    """show-ip prints the addresses of all interfaces without being root."""
    shown = host.check_output("runuser -u nobody show-ip").splitlines()
    found = json.loads(host.check_output("ip -json address show scope global"))
    # ip prints empty objects for addresses of another scope.
    addresses = {
        each["ifname"]: [address["local"] for address in each["addr_info"] if address]
        for each in found
        if each
    }
    wanted = {f"{name}: {' '.join(local)}" for name, local in addresses.items() if local}
    assert {*shown} == wanted


def test_consoles(host: Host, parameters: Parameters) -> None:
    """A console shows an address of the board above its login prompt."""
    interface = parameters["network"]["interface"]
    # agetty needs a terminal.
    issue = host.check_output("script -qc 'agetty --show-issue' /dev/null")
    found = json.loads(host.check_output(f"ip -json -4 address show dev {interface}"))
    addresses = [address["local"] for address in found[0]["addr_info"]]
    if not addresses:
        pytest.skip(f"{interface} has no address: no cable")
    assert any(f"{interface}: {address}" in issue for address in addresses)
