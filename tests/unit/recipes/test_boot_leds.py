# SPDX-License-Identifier: MIT
"""The program of recipe boot-leds, with a fake library that records writes to registers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.product import ROOT

PROGRAM = ROOT / "recipes/boot-leds/files/boot-leds"

LIBRARY = """
import time
time.sleep = lambda seconds: None

class PL:
    bitfile_name = {design!r}

class Overlay:
    def __init__(self, name, download):
        assert (name, download) == (PL.bitfile_name, False)
        gpio = dict(type="xilinx.com:ip:axi_gpio:2.0")
        four, six = dict(C_GPIO_WIDTH="4"), dict(C_GPIO_WIDTH="6")
        self.ip_dict = dict(
            leds_gpio=dict(gpio, phys_addr=0x41210000, parameters=four),
            rgbleds_gpio=dict(gpio, phys_addr=0x41220000, parameters=six),
            btns_gpio=dict(gpio, phys_addr=0x41230000, parameters=four),
            leds_dma=dict(type="xilinx.com:ip:axi_dma:7.1", phys_addr=0x40400000, parameters=dict()),
            ps7=dict(),
        )

class MMIO:
    def __init__(self, address, length):
        self.address = address
    def write(self, offset, value):
        print(hex(self.address + offset), value)
"""


def run(folder: Path, design: str | None) -> list[str]:
    """Run the program with a loaded design; return its writes (address and value)."""
    (folder / "pynq.py").write_text(LIBRARY.format(design=design))
    done = subprocess.run(
        [sys.executable, PROGRAM],
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_leds_of_one_colour_blink_and_are_dark_at_the_end(tmp_path: Path) -> None:
    first, *blinks = run(tmp_path, "/designs/base.bit")
    assert first == "0x41210004 0"  # outputs
    assert blinks == ["0x41210000 15", "0x41210000 0"] * 4


@pytest.mark.parametrize("none", [None, ""])
def test_without_a_design_nothing_is_written(tmp_path: Path, none: str | None) -> None:
    assert run(tmp_path, none) == []
