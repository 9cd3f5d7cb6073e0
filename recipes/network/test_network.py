# SPDX-License-Identifier: MIT
"""Ethernet."""

import json
import re
from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


@pytest.fixture
def addresses(host: Host, parameters: Parameters) -> dict[str, bool]:
    """The addresses of the interface, and whether each is a DHCP lease."""
    interface = parameters["network"]["interface"]
    text = host.check_output(f"ip -json -4 address show dev {interface}")
    (found,) = json.loads(text)
    if "NO-CARRIER" in found["flags"]:
        pytest.skip(f"{interface} has no cable")
    return {
        f"{each['local']}/{each['prefixlen']}": each.get("dynamic", False)
        for each in found["addr_info"]
    }


def test_fixed_address(addresses: dict[str, bool], parameters: Parameters) -> None:
    """The interface has the kernel's name and the fixed address."""
    wanted = parameters["network"]["address"]
    assert not wanted or addresses[wanted] is False


@pytest.mark.only("emulated", "another network need not give addresses")
def test_lease(addresses: dict[str, bool], parameters: Parameters) -> None:
    """The interface has an address from the network."""
    assert any(addresses.values()) == parameters["network"]["dhcp"]


def test_kernel_names(host: Host) -> None:
    """All interfaces have the kernel's names."""
    names = host.check_output("ls /sys/class/net").split()
    assert not [name for name in names if re.match(r"en[a-z0-9]|wl[ospxd]", name)]


def test_mac_address(host: Host, parameters: Parameters) -> None:
    """The MAC address is permanent, and the boot loader's if it set one."""
    place = f"/sys/class/net/{parameters['network']['interface']}"
    # NET_ADDR_PERM: the hardware's, or the device tree's; NET_ADDR_SET: systemd's, from machine-id.
    # NET_ADDR_RANDOM would be another one at each boot (linux/netdevice.h).
    origin = host.file(f"{place}/addr_assign_type").content_string.strip()
    assert origin in {"0", "3"}
    address = bytes.fromhex(host.file(f"{place}/address").content_string.replace(":", ""))
    assert any(address)
    assert not address[0] & 1, "it is for many hosts"
    assert not address.startswith(b"\x52\x54\0"), "it is QEMU's own, which no board has"
    given = host.file(f"{place}/device/of_node/local-mac-address")
    if given.exists:
        assert given.content == address
    elif origin == "3":
        assert address[0] & 2, "it is administered locally, and must say so"


@pytest.mark.only("outside", "the board does not know a port that the other machine listens on")
@pytest.mark.only("emulated", "a real board is in a network on purpose")
def test_an_emulated_board_does_not_reach_this_machine(host: Host, ports: dict[int, int]) -> None:
    """An emulated board, which may run untrusted code, cannot connect to the host."""
    # QEMU's address of the host, where this port is forwarded to the board's SSH server.
    answered = host.run(f"timeout 20 bash -c 'head -c 4 < /dev/tcp/10.0.2.2/{ports[22]}'")
    assert answered.failed, answered.stdout


def test_resolver(host: Host) -> None:
    """systemd-resolved resolves names."""
    assert host.service("systemd-resolved").is_running
    assert host.file("/etc/resolv.conf").linked_to == "/run/systemd/resolve/stub-resolv.conf"
    # The resolver answers this name itself, without a network request.
    assert "127.0.0.1" in host.check_output("resolvectl query -4 localhost")


def test_boot_does_not_wait(host: Host) -> None:
    """The boot does not wait for a cable."""
    assert not host.service("systemd-networkd-wait-online").is_enabled


def test_local_name(host: Host, parameters: Parameters) -> None:
    """The board answers to its name by mDNS and LLMNR, if configured."""
    settings = parameters["network"]
    for protocol in ("mdns", "llmnr"):
        shown = host.check_output(f"resolvectl {protocol} {settings['interface']}")
        assert shown.endswith(": yes") == settings["local-name"]
