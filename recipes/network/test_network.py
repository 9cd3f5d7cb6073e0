# SPDX-License-Identifier: MIT
"""Ethernet."""

import json
import re
from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_addresses(host: Host, parameters: Parameters) -> None:
    """The interface has the kernel's name, a lease and the fixed address."""
    settings = parameters["network"]
    text = host.check_output(f"ip -json -4 address show dev {settings['interface']}")
    found = {f"{one['local']}/{one['prefixlen']}": one for one in json.loads(text)[0]["addr_info"]}
    if settings["address"]:
        assert not found.pop(settings["address"]).get("dynamic")
    if settings["dhcp"]:
        assert any(address.get("dynamic") for address in found.values())


def test_kernel_names(host: Host) -> None:
    """No interface got another name than the kernel's."""
    names = host.check_output("ls /sys/class/net").split()
    assert not [name for name in names if re.match(r"en[a-z0-9]|wl[ospxd]", name)]


def test_resolver(host: Host) -> None:
    """Names are looked up by systemd-resolved, which answers."""
    assert host.service("systemd-resolved").is_running
    assert host.file("/etc/resolv.conf").linked_to == "/run/systemd/resolve/stub-resolv.conf"
    # Known to the resolver itself: this asks nobody in the network.
    assert "127.0.0.1" in host.check_output("resolvectl query -4 localhost")


def test_boot_does_not_wait(host: Host) -> None:
    """The boot does not wait for a cable."""
    assert not host.service("systemd-networkd-wait-online").is_enabled


def test_local_name(host: Host, parameters: Parameters) -> None:
    """The board answers to its name in the local network by mDNS and LLMNR, or to neither."""
    settings = parameters["network"]
    for protocol in ("mdns", "llmnr"):
        shown = host.check_output(f"resolvectl {protocol} {settings['interface']}")
        assert shown.endswith(": yes") == settings["local-name"]
