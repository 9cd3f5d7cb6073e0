# SPDX-License-Identifier: MIT
"""Pytest plugin with fixtures for the memory and the registers of a board."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from testinfra.host import Host

from builder.target_tests.plugin import BoardUnderTest

_DEVCFG_CTRL = 0xF8007000
"""Control register of a Zynq-7000's configuration engine (UG585, appendix B)."""

_ETHERNET = {"zynq": (0xE000B000, 0x00020118), "zynqmp": (0xFF0E0000, 0x40070106)}
"""Addresses of Ethernet controllers and their ID (UG585, gem.module_id; UG1087, GEM3)."""

_READ_WORD = """
import mmap, os, sys
address = int(sys.argv[1], 0)
page = address & -mmap.PAGESIZE
memory = os.open("/dev/mem", os.O_RDONLY | os.O_SYNC)
words = memoryview(mmap.mmap(memory, mmap.PAGESIZE, prot=mmap.PROT_READ, offset=page)).cast("I")
print(hex(words[(address - page) // 4]))
"""

# CmaFree is no measure: the kernel uses free contiguous memory for programs and files, and reclaims
# it for buffers. Pages of files that are being written cannot be moved and block a part each.
_FREE_CONTIGUOUS = """
import pyxrt
with open("/proc/meminfo") as table:
    kib = next(int(line.split()[1]) for line in table if line.startswith("CmaTotal"))
PARTS = 512  # each is an open file, and a program may have 1024
board, buffers = pyxrt.device(0), []
try:
    while len(buffers) < PARTS:
        buffers.append(pyxrt.bo(board, kib * 1024 // PARTS, pyxrt.bo.flags.normal, 0))
except OSError:
    pass
print(len(buffers) * kib // PARTS)
"""


@pytest.fixture(scope="module")
def meminfo(host: Host) -> dict[str, int]:
    """The board's /proc/meminfo, in bytes."""
    lines = host.check_output("cat /proc/meminfo").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


@pytest.fixture(scope="session")
def read_word(run_python: Callable[..., str]) -> Callable[[int], int]:
    """Read a 32-bit register of the board at a physical address, through /dev/mem."""
    return lambda address: int(run_python(_READ_WORD, hex(address)), 0)


@pytest.fixture(scope="session")
def free_contiguous(host: Host, run_python: Callable[..., str]) -> Callable[[], int]:
    """Return the contiguous memory that is available for buffers, in KiB, to within about a MiB."""

    def free() -> int:
        host.check_output("sync && echo 3 > /proc/sys/vm/drop_caches")
        return int(run_python(_FREE_CONTIGUOUS))

    return free


@pytest.fixture(scope="session")
def known_register(board: BoardUnderTest) -> tuple[int, int]:
    """The Ethernet controller's address, and the value of its ID register at offset 0xFC."""
    return _ETHERNET[board.soc]


@pytest.fixture
def can_load(host: Host, board: BoardUnderTest, read_word: Callable[[int], int]) -> bool:
    """Whether PL designs can be loaded, as on every real board."""
    if not host.file("/sys/class/fpga_manager/fpga0/firmware").exists:
        return False
    # QEMU before 11.0 cannot load them: its model writes 0 to UNLOCK (0xF8007034) at reset, which
    # disables the whole configuration engine. Bit 4 of STATUS (0xF8007014), PCFG_INIT, for which
    # the driver waits, is never set.
    return board.soc != "zynq" or read_word(_DEVCFG_CTRL) != 0
