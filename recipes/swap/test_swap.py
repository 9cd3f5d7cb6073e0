# SPDX-License-Identifier: MIT
"""Swap space."""

from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]

UNITS = {"M": 1 << 20, "G": 1 << 30}


def test_swap_is_used(host: Host, parameters: Parameters) -> None:
    """The swap file has the configured size, is only accessible to root, and is in use."""
    size = parameters["swap"]["size"]
    file = host.file("/var/swap")
    assert file.size == int(size[:-1]) * UNITS[size[-1]]
    assert (file.user, file.mode) == ("root", 0o600)
    assert "/var/swap" in host.check_output("swapon --show=NAME --noheadings").split()


def test_no_swap_on_a_full_card(host: Host) -> None:
    """Without enough free space, no swap file is created, and the service does not fail."""
    result = host.run("/usr/local/sbin/use-swap /var/check-swap 9999G")
    assert result.rc == 0
    assert result.stdout.startswith("no swap: 9999G is more than half of the ")
    assert not host.file("/var/check-swap").exists


def test_memory_goes_first(host: Host) -> None:
    """The kernel's swappiness is low, because cards are slow."""
    assert host.sysctl("vm.swappiness") == 10
