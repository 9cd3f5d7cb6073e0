# SPDX-License-Identifier: MIT
"""Bitstreams: from Vivado's .bit to what the kernel's FPGA managers load.

A .bit is a header of tagged fields (a to d: texts; e: the data with a length of 32 bits) and the
configuration data, whose words have their bytes in the order of the serial port. The configuration
engines of Zynq-7000 and the firmware of Zynq UltraScale+ take words of the processor.
"""

from __future__ import annotations

import array

from builder.errors import UserError

_DATA = ord("e")
_SYNC = b"\xaa\x99\x55\x66"
"""The synchronisation word as it stands in a .bit (UG470, UG570)."""


def loadable(bit: bytes, *, origin: str) -> bytes:
    """Return the configuration data of a .bit as the kernel wants it.

    Raises:
        UserError: it is no .bit.
    """
    data = _data(bit)
    if data is None or len(data) % 4 or _SYNC not in data[:1024]:
        raise UserError(f"{origin} is not a bitstream as Vivado writes it (.bit)")
    words = array.array("I")
    assert words.itemsize == 4, "Python's unsigned int has 32 bits on all machines that build"
    words.frombytes(data)
    words.byteswap()
    return words.tobytes()


def _data(bit: bytes) -> bytes | None:
    # A field of magic numbers with its length, then a number that is 1.
    position = 2 + int.from_bytes(bit[:2], "big") + 2
    while position + 5 <= len(bit):
        tag = bit[position]
        if tag == _DATA:
            length = int.from_bytes(bit[position + 1 : position + 5], "big")
            found = bit[position + 5 : position + 5 + length]
            return found if len(found) == length else None
        position += 3 + int.from_bytes(bit[position + 1 : position + 3], "big")
    return None
