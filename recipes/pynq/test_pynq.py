# SPDX-License-Identifier: MIT
"""The PYNQ library on the board's kernel."""

import base64
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

MANAGER = "/sys/class/fpga_manager/fpga0"

# A block of registers where no logic is: nothing but the driver's device is looked at.
OVERLAY = """
/dts-v1/;
/plugin/;
/ {
    fragment@0 {
        target-path = "/";
        __overlay__ {
            checked-block {
                compatible = "generic-uio";
                reg = <%s>;
            };
        };
    };
};
"""
BLOCK = {"zynq": "0x43c00000 0x1000", "zynqmp": "0 0xa0000000 0 0x1000"}

INSERT = """
import json, pathlib, pynq, pynq.uio
tree = pynq.DeviceTreeSegment("/run/checked.dtbo")
found = []
for _ in range(3):
    tree.insert()
    device = pynq.uio.get_uio_device("checked-block")
    found.append([tree.is_dtbo_applied(), bool(device) and pathlib.Path(device).is_char_device()])
    tree.remove()
    found.append([tree.is_dtbo_applied(), pynq.uio.get_uio_device("checked-block")])
print(json.dumps(found))
"""

REGISTERS = """
import os, pynq.mmio
class Memory:
    capabilities = {"MEMORY_MAPPED": True}
    has_capability = capabilities.get
    def mmap(self, base, length):
        return pynq.pl_server.embedded_device.EmbeddedDevice.mmap(self, base, length)
print(hex(pynq.MMIO(%d, 0x1000, device=Memory()).read(0xFC)))
"""
ETHERNET = {"zynq": 0xE000B000, "zynqmp": 0xFF0E0000}


@pytest.fixture
def quiet(host: Host) -> Iterator[None]:
    """The kernel has nothing to complain of meanwhile."""
    asked = "dmesg --level=emerg,alert,crit,err,warn"
    before = host.check_output(asked)
    yield
    assert host.check_output(asked).removeprefix(before) == ""


def test_version(host: Host) -> None:
    """The library is there with its metadata, and needs nothing that is not there."""
    code = "import importlib.metadata, pynq; print(importlib.metadata.version('pynq'), pynq.__version__)"
    assert host.check_output("python3 -W ignore -c %s", code) == "3.1.2 3.1.2"


def test_devices(host: Host) -> None:
    """It finds the board as a device if the kernel can load its logic, and none otherwise."""
    code = "import pynq; print(*(type(each).__name__ for each in pynq.Device.devices))"
    found = host.check_output("python3 -W ignore -c %s", code)
    assert found == ("EmbeddedDevice" if host.file(f"{MANAGER}/firmware").exists else "")


@pytest.mark.usefixtures("quiet")
def test_device_tree_overlay(host: Host, board: Any) -> None:
    """It inserts a device tree overlay, whose UIO device appears, and removes it, three times."""
    source = OVERLAY % BLOCK[board.soc]
    blob = subprocess.run(
        ["dtc", "-q", "-@", "-I", "dts", "-O", "dtb"],
        input=source.encode(),
        capture_output=True,
        check=True,
    ).stdout
    host.check_output("echo %s | base64 -d > /run/checked.dtbo", base64.b64encode(blob).decode())
    # The kernel says of each overlay that it cannot free what it adds to nodes of the board's tree:
    # this one adds none.
    found = json.loads(host.check_output("python3 -W ignore -c %s", INSERT))
    assert found == [[True, True], [False, None]] * 3
    assert not host.file("/sys/kernel/config/device-tree/overlays/checked").exists


@pytest.mark.usefixtures("quiet")
def test_registers(host: Host, board: Any) -> None:
    """It reads registers of the processing system: the Ethernet controller's identity."""
    found = host.check_output("python3 -W ignore -c %s", REGISTERS % ETHERNET[board.soc])
    # Its kind; above and below are its revisions, which are not the same on silicon and in QEMU.
    assert int(found, 16) >> 16 & 0xFFF == {"zynq": 0x002, "zynqmp": 0x007}[board.soc]


def test_notebooks_run_as_root(host: Host, parameters: dict[str, dict[str, Any]]) -> None:
    """A notebook's kernel is root's, as the library asks for; the server is not."""
    code = (
        "import jupyter_client.manager as m; k, c = m.start_new_kernel(startup_timeout=300); "
        "r = c.execute_interactive('import os; print(os.geteuid())', timeout=300, "
        "output_hook=lambda s: print(s['content'].get('text', ''), end='')); "
        "c.stop_channels(); k.shutdown_kernel()"
    )
    user = parameters["users"]["user"]
    assert host.check_output("runuser -u %s -- python3 -W ignore -c %s", user, code) == "0"
