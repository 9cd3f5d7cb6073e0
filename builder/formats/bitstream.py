# SPDX-License-Identifier: MIT
"""Conversion of bitstreams from Vivado's .bit to the format of the kernel's FPGA managers.

A .bit is a header of tagged fields (a to d: texts; e: the data with a length of 32 bits) and the
configuration data, whose words have their bytes in the order of the serial port. The configuration
engine of Zynq-7000 and the firmware of Zynq UltraScale+ expect words in the processor's order.
"""

from __future__ import annotations

import array

from builder.errors import UserError

_DATA = ord("e")
_SYNC = b"\xaa\x99\x55\x66"
"""The synchronisation word as it appears in a .bit (UG470, UG570)."""


def loadable(bit: bytes, *, origin: str) -> bytes:
    """Return the configuration data of a .bit in the kernel's format.

    Args:
        bit: content of the file.
        origin: name of the file, for messages.

    Raises:
        UserError: it is not a .bit.
    """
    data = _data(bit)
    if data is None or len(data) % 4 or _SYNC not in data[:1024]:
        raise UserError(f"{origin} is not a bitstream in Vivado's format (.bit)")
    words = array.array("I")
    assert words.itemsize == 4, "Python's unsigned int has 32 bits on all machines that build"
    words.frombytes(data)
    words.byteswap()
    return words.tobytes()


def _data(bit: bytes) -> bytes | None:
    # First comes a field of magic numbers with its length, then the number 1.
    position = 2 + int.from_bytes(bit[:2], "big") + 2
    while position + 5 <= len(bit):
        tag = bit[position]
        if tag == _DATA:
            length = int.from_bytes(bit[position + 1 : position + 5], "big")
            found = bit[position + 5 : position + 5 + length]
            return found if len(found) == length else None
        position += 3 + int.from_bytes(bit[position + 1 : position + 3], "big")
    return None
