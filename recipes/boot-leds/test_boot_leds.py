# SPDX-License-Identifier: MIT
"""LEDs that show the end of the boot."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

BASE = "/usr/local/lib/python3.*/dist-packages/pynq/overlays/base/base.bit"
MANAGER = "/sys/class/fpga_manager/fpga0"
FIND = """
import json, runpy, pynq
found = runpy.run_path("/usr/local/sbin/boot-leds")["leds"]
print(json.dumps(found(pynq.Overlay("base", download=False).ip_dict)))
"""
LEDS = {"zynq": ("leds_gpio", 4), "zynqmp": ("gpio_leds", 4)}
"""LEDs of the PYNQ library's base designs."""


def test_it_does_not_fail(host: Host) -> None:
    """The service starts at boot and has not failed; without a PL design it does not run."""
    service = host.service("boot-leds")
    assert service.is_enabled
    assert host.run("systemctl is-failed boot-leds").stdout.strip() == "inactive"
    if not host.file("/etc/pynq/boot-overlay").content_string.strip():
        assert host.check_output("systemctl show -P ExecMainPID boot-leds") == "0"


def test_it_finds_the_leds_of_the_base_design(
    host: Host, board: Any, run_python: Callable[..., str]
) -> None:
    """The service finds the base design's block with single-colour LEDs, and their number."""
    if host.run(f"ls {BASE}").failed:
        pytest.skip("the board has no design base")
    if not host.file(f"{MANAGER}/firmware").exists:
        pytest.skip("this board has no FPGA manager, without which the library finds no board")
    printed = run_python(FIND, modules=["pynq"])
    found = json.loads(printed.splitlines()[-1])
    assert [(name, count) for name, _, count in found] == [LEDS[board.soc]]
