# SPDX-License-Identifier: MIT
"""Checks of the kernel, the device tree and the hardware of a ZedBoard."""

from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

MIB = 1 << 20


def test_board_name(host: Host, board: Any) -> None:
    """The device tree contains the board's name for PYNQ."""
    node = host.file("/proc/device-tree/chosen/pynq_board")
    assert node.content_string.rstrip("\0") == board.hardware


def test_model(host: Host) -> None:
    """The kernel uses the board's own tree."""
    assert host.file("/proc/device-tree/model").content_string.startswith("Avnet ZedBoard")


def test_console(host: Host, board: Any) -> None:
    """The console is UART 1, under the name in the board's specification."""
    name = board.console.partition(",")[0]
    assert f"console={board.console}" in host.check_output("cat /proc/cmdline").split()
    assert "e0001000.serial" in host.check_output("readlink -f /sys/class/tty/%s", name)


def test_memory(board: Any, meminfo: dict[str, int]) -> None:
    """All memory is available, except the kernel's own; 128 MB of it are contiguous."""
    assert board.memory - 32 * MIB < meminfo["MemTotal"] < board.memory
    assert meminfo["CmaTotal"] == 128 * MIB


@pytest.mark.parametrize(
    ("device", "driver"),
    [
        ("e0001000.serial", "xuartps"),
        ("e000b000.ethernet", "macb"),
        ("e000d000.spi", "zynq-qspi"),
        ("e0100000.mmc", "sdhci-arasan"),
        ("e0002000.usb", "chipidea-usb2"),
        ("40000000.fabric", "uio_pdrv_genirq"),
    ],
)
def test_driver(driver_of: Callable[[str], str], device: str, driver: str) -> None:
    """Each device of the processing system has its driver."""
    assert driver in driver_of(device)


def test_fabric_interrupt(host: Host) -> None:
    """The interrupt of the programmable logic is a UIO device."""
    assert host.check_output("cat /sys/class/uio/uio0/name") == "fabric"


def test_mac_address(host: Host, address_of_card: str) -> None:
    """The MAC address is derived from the card's identity: the board has none."""
    assert host.file("/sys/class/net/eth0/address").content_string.strip() == address_of_card
