# SPDX-License-Identifier: MIT
"""The platform management unit (PMU) of Zynq UltraScale+, and its firmware.

It is a small processor of its own, a MicroBlaze with 128 KiB of memory. The BootROM loads it from
BOOT.BIN and starts it before the first stage; from then on it keeps clocks, power and resets, which
Trusted Firmware, U-Boot and Linux ask it for. Without its firmware none of them gets far.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from builder.errors import UserError
from builder.formats.boot_bin import PMU_BYTES
from builder.untrusted.reading import plain_file

_MOST_BYTES: Final = 64 << 20  # of an ELF file, with what debuggers read
_ADDRESS: Final = 0xFFDC0000
_LOADED: Final = 1  # PT_LOAD of elf(5)


def pmu_memory(program: Path) -> bytes:
    """Return what the PMU's memory holds when a program for it starts, from its first byte on.

    A program is an ELF file, as AMD's tools write it (pmufw.elf), or that content already. mkimage
    takes no ELF file, and bootgen 2022.2 was seen to copy one into BOOT.BIN as it is.

    Raises:
        UserError: it is not a program for the PMU.
    """
    data = plain_file(program, most=_MOST_BYTES)
    if not data.startswith(b"\x7fELF"):
        memory = data
    else:
        try:
            memory = _loaded(data)
        except (struct.error, ValueError) as error:
            raise UserError(
                f"{program} is no program for the PMU: {error}",
                hint="it is pmufw.elf of the board's BSP, a 32-bit MicroBlaze program",
            ) from error
    if not 0 < len(memory) <= PMU_BYTES:
        raise UserError(f"{program}: {len(memory)} bytes do not fit the PMU's {PMU_BYTES}")
    return memory.ljust(-(-len(memory) // 64) * 64, b"\0")


def _loaded(data: bytes) -> bytes:
    if data[4:6] != b"\1\1":
        raise ValueError("it is not a 32-bit little-endian program")
    (table,) = struct.unpack_from("<I", data, 0x1C)
    size, count = struct.unpack_from("<2H", data, 0x2A)
    memory = bytearray()
    for index in range(count):
        kind, offset, _, address, length = struct.unpack_from("<5I", data, table + index * size)
        if kind != _LOADED or not length:
            continue
        start = address - _ADDRESS
        if not 0 <= start <= PMU_BYTES - length:
            raise ValueError(f"{length} bytes at {address:#010x} are not in its memory")
        if offset + length > len(data):
            raise ValueError("it is cut off")
        memory.extend(bytes(max(0, start + length - len(memory))))
        memory[start : start + length] = data[offset : offset + length]
    return bytes(memory)
