# SPDX-License-Identifier: MIT
"""The platform management unit (PMU) of Zynq UltraScale+, and its firmware.

The PMU is a separate MicroBlaze processor with 128 KiB of memory. The BootROM loads its firmware
from BOOT.BIN and starts it before the first stage. From then on the firmware manages clocks, power
and resets on request of Trusted Firmware, U-Boot and Linux, none of which can boot without it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from builder.errors import UserError
from builder.formats.boot_bin import PMU_BYTES
from builder.untrusted.reading import plain_file

_MOST_BYTES: Final = 64 << 20  # of an ELF file with debugging information
_ADDRESS: Final = 0xFFDC0000
_LOADED: Final = 1  # PT_LOAD of elf(5)


def pmu_memory(program: Path) -> bytes:
    """Return the memory image of a PMU program, from the first byte of the PMU's memory on.

    `program` is an ELF file, as AMD's tools write it (pmufw.elf), or already a memory image.
    mkimage does not accept ELF files, and bootgen 2022.2 was seen to copy one into BOOT.BIN
    unchanged.

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
                f"{program} is not a program for the PMU: {error}",
                hint="use pmufw.elf of the board's BSP, a 32-bit MicroBlaze program",
            ) from error
    if not 0 < len(memory) <= PMU_BYTES:
        raise UserError(
            f"{program}: {len(memory)} bytes do not fit into the PMU's memory of {PMU_BYTES} bytes"
        )
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
            raise ValueError(f"{length} bytes at {address:#010x} are outside the PMU's memory")
        if offset + length > len(data):
            raise ValueError("it is truncated")
        memory.extend(bytes(max(0, start + length - len(memory))))
        memory[start : start + length] = data[offset : offset + length]
    return bytes(memory)
