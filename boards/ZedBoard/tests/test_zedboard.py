# SPDX-License-Identifier: MIT
"""What the kernel, the device tree and the hardware of a ZedBoard give to programs."""

from typing import Any

import pytest
from testinfra.host import Host

MIB = 1 << 20


def test_board_name(host: Host, board: Any) -> None:
    """The device tree carries the name that PYNQ looks for."""
    node = host.file("/proc/device-tree/chosen/pynq_board")
    assert node.content_string.rstrip("\0") == board.hardware


def test_model(host: Host) -> None:
    """The kernel runs on the board's own tree."""
    assert host.file("/proc/device-tree/model").content_string.startswith("Avnet ZedBoard")


def test_console(host: Host, board: Any) -> None:
    """The console is UART 1, under the name that the board's specification gives it."""
    name = board.console.partition(",")[0]
    assert f"console={board.console}" in host.check_output("cat /proc/cmdline").split()
    assert "e0001000.serial" in host.check_output("readlink -f /sys/class/tty/%s", name)


def test_memory(host: Host, board: Any) -> None:
    """All memory is there but for what the kernel itself takes; 128 MB of it are contiguous."""
    lines = host.check_output("cat /proc/meminfo").splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    assert board.memory - 32 * MIB < sizes["MemTotal"] < board.memory
    assert sizes["CmaTotal"] == 128 * MIB


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
def test_driver(host: Host, device: str, driver: str) -> None:
    """Each device of the processing system has its driver."""
    found = host.check_output("find /sys/devices -maxdepth 4 -name %s", device)
    assert found, f"there is no device {device}"
    assert driver in host.check_output("readlink %s/driver", found)


def test_fabric_interrupt(host: Host) -> None:
    """The interrupt of the programmable logic is a UIO device."""
    assert host.check_output("cat /sys/class/uio/uio0/name") == "fabric"
