# SPDX-License-Identifier: MIT
"""The board as a USB device.

A board whose port is a USB host gets a simulated device controller (dummy_hcd), which is connected
to the board's own USB host, so that the board is also the PC.
"""

from collections.abc import Callable, Iterator
from ipaddress import ip_interface
from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]
Until = Callable[..., str]

CHECK = "/run/systemd/network/10-check.network"
"""Configuration of systemd-networkd as the PC's end."""

# Prints the answer of the serial port to the return key. The login program hangs up its
# port when it starts, so the PC's port (cdc-acm) loses its carrier and is opened again.
TERMINAL = """
import os, select, sys, termios, time

def show(end):
    port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
    try:
        mode = termios.tcgetattr(port)
        mode[0] = mode[1] = mode[3] = 0
        termios.tcsetattr(port, termios.TCSANOW, mode)
        seen = b""
        while b"login:" not in seen and time.monotonic() < end:
            os.write(port, b"\\r")
            while b"login:" not in seen and select.select([port], [], [], 3)[0]:
                read = os.read(port, 1000)
                if not read:
                    raise OSError("hung up")
                seen += read
        return seen.decode(errors="replace")
    finally:
        os.close(port)

end = time.monotonic() + 120
while True:
    try:
        print(show(end))
        break
    except (OSError, termios.error):
        if time.monotonic() > end:
            raise
        time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def pc(host: Host, parameters: Parameters, until: Until) -> Iterator[str]:
    """The board's USB device on the PC: its directory in sysfs."""
    if host.check_output("ls /sys/class/udc"):
        pytest.skip("the board's own USB device controller is in use")
    if host.run("modprobe dummy_hcd").failed:
        pytest.skip("this kernel has no USB device controller made of software")
    product = parameters["usb-gadget"]["product-id"].removeprefix("0x")
    yield until(f"dirname $(grep --files-with-matches {product} /sys/bus/usb/devices/*/idProduct)")
    # Also remove the link target, at which the next controller starts.
    host.check_output("systemctl stop usb-gadget usb-gadget.target && rmmod dummy_hcd")
    assert host.run("systemctl is-failed serial-getty@ttyGS0").stdout.strip() != "failed"


RNDIS = pytest.param(
    (1, "rndis_host"), marks=pytest.mark.long("the link goes down and up, and DHCP starts anew")
)


@pytest.fixture(scope="module", params=[(2, "cdc_ether"), RNDIS], ids=["ECM", "RNDIS"])
def cable(host: Host, pc: str, until: Until, request: pytest.FixtureRequest) -> Iterator[str]:
    """The PC's network interface to the board, with either kind of network.

    If both ends start at the same time, the PC's end may miss the notification of the connection and
    never get a carrier. The fixture then reconnects the cable, as a user would.
    """
    configuration, driver = request.param
    host.check_output(f"mkdir -p {CHECK.rpartition('/')[0]}")
    for _ in range(3):
        host.check_output(f"echo 0 > {pc}/bConfigurationValue")
        host.check_output(f"echo {configuration} > {pc}/bConfigurationValue")
        interface = until(
            "for each in /sys/class/net/*; do case $(readlink $each/device/driver) in "
            f"*/{driver}) basename $each ;; esac; done | grep .",
        )
        host.check_output(
            f"printf '[Match]\\nName={interface}\\n[Network]\\nDHCP=ipv4\\n' > {CHECK}; networkctl reload"
        )
        carrier = f"for i in $(seq 60); do grep -q 1 /sys/class/net/{interface}/carrier && exit; sleep 0.5; done"
        if host.run(f"({carrier}; exit 1) 2> /dev/null").succeeded:
            break
    yield interface
    host.check_output(f"rm {CHECK}; networkctl reload")


def test_nothing_without_a_controller(host: Host) -> None:
    """On a board without a USB device controller, the service does not run."""
    if host.check_output("ls /sys/class/udc"):
        pytest.skip("the board has a USB device controller")
    assert not host.service("usb-gadget").is_running
    assert host.service("usb-gadget").is_enabled
    assert not host.file("/sys/class/net/usb-gadget").exists


def test_identity(host: Host, pc: str, parameters: Parameters) -> None:
    """The USB device has the configured IDs and manufacturer, and the board's name."""
    settings = parameters["usb-gadget"]
    seen = host.check_output(f"cd {pc} && cat idVendor idProduct manufacturer product")
    board = host.check_output("systemctl show-environment | sed -n s/^BOARD=//p")
    ids = [settings[key].removeprefix("0x") for key in ("vendor-id", "product-id")]
    assert seen.splitlines() == [*ids, settings["manufacturer"], board]


def test_network(host: Host, cable: str, parameters: Parameters, until: Until) -> None:
    """The PC gets an address by DHCP, with the network protocol of Windows and with the other."""
    board = ip_interface(parameters["usb-gadget"]["address"])
    lease = until(
        f"ip -brief -4 address show dev {cable} | awk '{{print $3}}' | grep {board.ip.exploded.rpartition('.')[0]}",
    )
    assert ip_interface(lease).network == board.network
    assert ip_interface(lease).ip != board.ip
    assert host.check_output("ip -brief -4 address show dev usb-gadget").split()[2] == str(board)


def test_addresses_of_hardware(host: Host, cable: str, parameters: Parameters) -> None:
    """The PC's interface has the configured MAC address, or a locally administered one."""
    address = host.check_output(f"cat /sys/class/net/{cable}/address")
    wanted = parameters["usb-gadget"]["pc-mac"]
    assert address == wanted if wanted else address.startswith("02:")


@pytest.mark.long("it waits for a login")
def test_serial_port(
    host: Host, pc: str, parameters: Parameters, until: Until, run_python: Callable[..., str]
) -> None:
    """A terminal at the PC's serial port shows a login."""
    port = f"ls -d {pc}/*/tty/ttyACM*"
    if not parameters["usb-gadget"]["serial"]:
        assert host.run(port).failed
        return
    name = until(port).rpartition("/")[2]
    until("systemctl is-active serial-getty@ttyGS0")
    assert "login:" in run_python(TERMINAL, f"/dev/{name}")


def test_disk(host: Host, pc: str, parameters: Parameters, until: Until) -> None:
    """The PC gets a disk with a page that links to the board."""
    settings = parameters["usb-gadget"]
    find = f"ls -d {pc}/*/host*/target*/*/block/*"
    if not settings["disk"]:
        assert host.run(find).failed
        return
    disk = f"/dev/{until(find).rpartition('/')[2]}"
    assert until(f"blkid -o value -s LABEL {disk} | grep .") == "PYNQ-USB"
    page = host.check_output(
        f"d=$(mktemp -d) && mount -o ro {disk} $d && cat $d/INDEX.HTM && umount $d && rmdir $d"
    )
    assert f"http://{settings['address'].partition('/')[0]}/" in page
