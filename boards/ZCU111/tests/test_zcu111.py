# SPDX-License-Identifier: MIT
"""Checks of the kernel, the device tree and the hardware of a ZCU111."""

from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

MIB = 1 << 20


def test_processors(host: Host) -> None:
    """All four Cortex-A53 processors run."""
    assert host.check_output("uname -m") == "aarch64"
    lines = host.check_output("cat /proc/cpuinfo").splitlines()
    parts = [int(line.split(":")[1], 0) for line in lines if line.startswith("CPU part")]
    assert parts == [0xD03] * 4


def test_board_name(host: Host, board: Any) -> None:
    """The device tree contains the board's name for PYNQ."""
    node = host.file("/proc/device-tree/chosen/pynq_board")
    assert node.content_string.rstrip("\0") == board.hardware


def test_model(host: Host) -> None:
    """The kernel uses the board's own tree."""
    assert host.file("/proc/device-tree/model").content_string.startswith("ZynqMP ZCU111")


def test_console(host: Host, board: Any) -> None:
    """The console is UART 0, under the name in the board's specification."""
    name = board.console.partition(",")[0]
    assert f"console={board.console}" in host.check_output("cat /proc/cmdline").split()
    assert "ff000000.serial" in host.check_output("readlink -f /sys/class/tty/%s", name)


def test_root_device(host: Host, board: Any) -> None:
    """The root filesystem is on the first card, which is in the second controller."""
    number = host.check_output("findmnt -no MAJ:MIN --mountpoint /").strip()
    device = host.check_output(f"readlink -f /sys/dev/block/{number}")
    assert f"/dev/{device.rpartition('/')[2]}" == board.root_device
    assert "ff170000.mmc" in device


def test_memory(board: Any, meminfo: dict[str, int]) -> None:
    """All memory is available, except the kernel's own; 128 MB of it are contiguous."""
    # The kernel needs a 64th of the memory for its page structures.
    assert board.memory * 63 // 64 - 64 * MIB < meminfo["MemTotal"] < board.memory
    assert meminfo["CmaTotal"] == 128 * MIB


@pytest.mark.parametrize(
    ("device", "driver"),
    [
        ("ff000000.serial", "xuartps"),
        ("ff0e0000.ethernet", "macb"),
        ("ff170000.mmc", "sdhci-arasan"),
        ("a0000000.fabric", "uio_pdrv_genirq"),
    ],
)
def test_driver(driver_of: Callable[[str], str], device: str, driver: str) -> None:
    """Each device that works without the platform management unit has its driver."""
    # The tree for QEMU makes these devices independent of the PMU's firmware. All others of the
    # processing system depend on it for their clocks, and QEMU has none.
    assert driver in driver_of(device)


def test_fabric_interrupt(host: Host) -> None:
    """The interrupt of the programmable logic is a UIO device."""
    assert host.run("test -c /dev/uio0").succeeded
    assert host.check_output("cat /sys/class/uio/uio0/name") == "fabric"


@pytest.mark.only("hardware", "QEMU has no firmware of the PMU, which the controller waits for")
def test_gpio(host: Host) -> None:
    """The GPIO controller is in sysfs under the label that the PYNQ library expects."""
    labels = host.check_output("cat /sys/class/gpio/gpiochip*/label").split()
    assert "zynqmp_gpio" in labels


def test_fpga_manager(host: Host) -> None:
    """The kernel has an FPGA manager if and only if there is PMU firmware."""
    # The manager only passes bitstreams to the firmware of the PMU. Without firmware, as in QEMU,
    # the kernel must not have one.
    managers = host.check_output("cat /sys/class/fpga_manager/*/name 2>/dev/null || true")
    drivers = "/sys/bus/platform/drivers/zynqmp_firmware"
    firmware = host.run(f"test -e {drivers}/firmware:zynqmp-firmware").succeeded
    assert managers == ("Xilinx ZynqMP FPGA Manager" if firmware else "")
    assert host.file("/sys/class/fpga_manager").is_directory


def test_physical_memory(read_word: Callable[[int], int]) -> None:
    """Root reads device registers through /dev/mem: the Ethernet controller's identity."""
    # Only the module's number: the revision differs between silicon and QEMU.
    assert read_word(0xFF0E00FC) >> 16 & 0xFFF == 0x007


def test_device_tree_overlays(host: Host) -> None:
    """Device-tree overlays can be applied through configfs."""
    slot = "/sys/kernel/config/device-tree/overlays/test"
    host.check_output(f"mkdir {slot}")
    assert host.check_output(f"cat {slot}/status") == "unapplied"
    host.check_output(f"rmdir {slot}")


def test_buffers(host: Host) -> None:
    """The group render may allocate buffers for the logic."""
    device = host.file("/dev/pynq-buffer")
    assert (device.group, device.mode) == ("render", 0o660)
