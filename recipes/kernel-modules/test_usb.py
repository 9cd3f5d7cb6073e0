# SPDX-License-Identifier: MIT
"""The board's USB host ports: their power, and connected devices.

The controllers of a Zynq-7000 have a transceiver that switches the port's power. Its driver is a
module of this repository, except with AMD's kernels. QEMU's ports need no power, and their
transceiver does not answer.
"""

from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

Until = Callable[..., str]

SERIAL = "zynq-sd-builder"
"""Serial number of the disk at an emulated board's port (builder/boot_test/usb.py)."""

DEVICES = "/sys/bus/platform/devices"

GLUE = "/sys/bus/platform/drivers/chipidea-usb2"
"""Glue driver of the controllers."""


@pytest.fixture(scope="module")
def transceivers(host: Host) -> list[str]:
    """Sysfs directories of the transceivers that switch the power of ports."""
    found = host.run("grep -lzx ulpi-phy %s/*/of_node/compatible", DEVICES).stdout
    if not found:
        pytest.skip("this board has no transceiver with registers")
    return [path.removesuffix("/of_node/compatible") for path in found.split()]


@pytest.fixture(scope="module")
def usb_host(host: Host) -> None:
    """Skip a check on a board without a hardware USB host controller."""
    found = host.run("cat /sys/bus/usb/devices/usb*/serial").stdout.split()
    if not any(not name.startswith("dummy_hcd") for name in found):
        pytest.skip("this board has no USB host")


@pytest.fixture
def own_driver(board: Any) -> None:
    """Skip a check if the transceivers' driver is not the module of this repository."""
    if board.provider != "mainline":
        pytest.skip("the driver is AMD's, and part of the kernel")


def content_of_disk(host: Host, until: Until) -> tuple[str, str]:
    """Wait for the disk; return its first line, and the SHA-256 of the data after 4 KiB."""
    disk = until(f"ls /dev/disk/by-id/usb-*{SERIAL}*")
    told = host.check_output("head -c 4096 %s | tr -d '\\0'", disk)
    # Read from the disk, not from the page cache.
    read = host.check_output("dd if=%s bs=4096 skip=1 iflag=direct status=none | sha256sum", disk)
    return told.strip(), read.split()[0]


def test_transceivers_have_a_driver(host: Host, transceivers: list[str]) -> None:
    """The transceivers of USB ports are bound to their driver."""
    for each in transceivers:
        assert host.check_output("readlink %s/driver", each).endswith("/ulpi-phy")


@pytest.mark.usefixtures("own_driver", "transceivers")
def test_hosts_are_started(host: Host) -> None:
    """All host controllers in the device tree have been started with their transceivers."""
    # Look at all controllers: one without a driver would not be started either.
    modes = host.run("grep -lzx host %s/*.usb/of_node/dr_mode", DEVICES).stdout
    for mode in modes.split():
        controller = mode.removesuffix("/of_node/dr_mode")
        assert host.check_output("readlink %s/ci_hdrc.*/driver", controller).endswith("/ci_hdrc")


@pytest.mark.only("emulated", "a real transceiver answers by itself")
@pytest.mark.usefixtures("own_driver", "transceivers")
def test_power(host: Host) -> None:
    """The port's power is switched by registers of the transceiver, which is simulated."""
    host.check_output("modprobe ulpi-phy-test && rmmod ulpi-phy-test")


@pytest.mark.only("emulated", "what is plugged in at a real board is its owner's")
@pytest.mark.usefixtures("usb_host")
def test_disk(host: Host, until: Until) -> None:
    """A disk at the USB port is a block device, and all of its data can be read."""
    told, read = content_of_disk(host, until)
    assert told == f"{SERIAL} {read}"


@pytest.mark.only("emulated", "it takes the port from what is plugged in")
@pytest.mark.usefixtures("own_driver", "transceivers", "usb_host")
def test_driver_comes_and_goes(host: Host, until: Until) -> None:
    """The transceiver's driver can only be unbound while no controller uses it, and bound again."""
    assert "in use" in host.run("rmmod ulpi-phy").stderr
    glue = host.check_output("cd %s && ls -d *.usb", GLUE).split()
    for each in glue:
        host.check_output("echo %s > %s/unbind", each, GLUE)
    host.check_output("udevadm settle && rmmod ulpi-phy && modprobe ulpi-phy")
    # Linux also does this by itself, possibly at this moment, and then refuses to do it twice.
    for each in glue:
        host.check_output("cd %s && { echo %s > bind || test -e %s; }", GLUE, each, each)
    told, read = content_of_disk(host, until)
    assert told == f"{SERIAL} {read}"
