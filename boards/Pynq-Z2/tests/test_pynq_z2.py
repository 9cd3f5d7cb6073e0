# SPDX-License-Identifier: MIT
"""Checks of the kernel, the device tree and the hardware of a Pynq-Z2."""

from collections.abc import Callable
from typing import Any

from testinfra.host import Host

MIB = 1 << 20


def test_processor(host: Host) -> None:
    """The processor is a Cortex-A9 with NEON."""
    assert host.check_output("uname -m") == "armv7l"
    lines = host.check_output("cat /proc/cpuinfo").splitlines()
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    values = {name.strip(): value.strip() for name, value in pairs}
    assert int(values["CPU architecture"]) == 7
    assert int(values["CPU part"], 0) == 0xC09
    assert "neon" in values["Features"].split()


def test_kernel_and_its_modules(host: Host) -> None:
    """The kernel finds the modules of its own release."""
    release = host.check_output("uname -r")
    assert release
    assert host.file(f"/lib/modules/{release}/modules.dep").exists
    assert host.check_output("ls /lib/modules") == release


def test_board_name(host: Host, board: Any) -> None:
    """The device tree contains the board's name for PYNQ."""
    node = host.file("/proc/device-tree/chosen/pynq_board")
    assert node.content_string.rstrip("\0") == board.hardware


def test_command_line(host: Host, board: Any) -> None:
    """The kernel has the board's console and root device."""
    words = host.check_output("cat /proc/cmdline").split()
    assert f"console={board.console}" in words
    assert f"root={board.root_device}" in words


def test_mac_address(host: Host, board: Any, address_of_card: str) -> None:
    """The MAC address is that in the flash, or derived from the card's identity."""
    address = host.file("/sys/class/net/eth0/address").content_string.strip()
    if board.emulated or int(address[:2], 16) & 2:
        assert address == address_of_card


def test_root_device(host: Host, board: Any) -> None:
    """The root filesystem is on the card's partition."""
    number = host.check_output("findmnt -no MAJ:MIN --mountpoint /").strip()
    name = host.check_output(f"basename $(readlink -f /sys/dev/block/{number})")
    assert f"/dev/{name}" == board.root_device


def test_memory(board: Any, meminfo: dict[str, int]) -> None:
    """All memory is available, except the kernel's own."""
    assert board.memory - 32 * MIB < meminfo["MemTotal"] < board.memory


def test_contiguous_memory(meminfo: dict[str, int]) -> None:
    """There are 128 MB for buffers of the programmable logic."""
    assert meminfo["CmaTotal"] == 128 * MIB


def test_fabric_interrupt(host: Host) -> None:
    """The interrupt of the programmable logic is a UIO device."""
    assert host.run("test -c /dev/uio0").succeeded
    assert host.check_output("cat /sys/class/uio/uio0/name") == "fabric"


def test_gpio(host: Host) -> None:
    """The GPIO controller is in sysfs under the label that the PYNQ library expects."""
    labels = host.check_output("cat /sys/class/gpio/gpiochip*/label").split()
    assert "zynq_gpio" in labels


def test_fpga_manager(host: Host) -> None:
    """The kernel has an FPGA manager for the programmable logic."""
    manager = "/sys/class/fpga_manager/fpga0"
    assert host.check_output(f"cat {manager}/name") == "Xilinx Zynq FPGA Manager"
    # The state before a bitstream differs between silicon and emulation. Earlier checks may have
    # loaded bitstreams: those of the designs, which fails in old versions of QEMU, and a missing
    # one.
    state = host.check_output(f"cat {manager}/state")
    tried = {"operating", "write init error", "firmware request error"}
    assert state in {"unknown", "power off", "power up", *tried}


def test_physical_memory(read_word: Callable[[int], int]) -> None:
    """Root reads device registers through /dev/mem: the Ethernet controller's identity."""
    assert read_word(0xE000B0FC) == 0x00020118


def test_bitstreams_by_name(host: Host) -> None:
    """The FPGA manager accepts flags and a bitstream's name; a missing bitstream is an error."""
    manager = "/sys/class/fpga_manager/fpga0"
    assert host.check_output(f"cat {manager}/flags") == "0"
    loaded = host.run(f"echo none.bin | tee {manager}/firmware")
    assert loaded.failed
    assert "No such file" in loaded.stderr


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
