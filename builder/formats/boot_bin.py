# SPDX-License-Identifier: MIT
"""BOOT.BIN: the boot header for the BootROM, and bootgen's tables after it.

The BootROM reads only the boot header: it checks the header's checksum, writes the registers of
the initialisation table, copies the first-stage program into on-chip memory and starts it. On Zynq
UltraScale+, it first passes the platform management unit (PMU) its firmware, if the file has any.
`mkimage -T zynqimage` and `-T zynqmpimage` (U-Boot's spl/boot.bin) write nothing else: SPL loads
U-Boot from another file. bootgen adds tables of images and partitions for AMD's first stage (FSBL).
Offsets and meanings are those of AMD's UG821 (Zynq-7000 software developers guide,
"Boot Image Format"), UG585, 6.3, and UG1283 (bootgen).

Tables are parsed for Zynq-7000 only, where bootgen's own reader is no substitute: `bootgen -arch
zynq -read` (2022.2) refuses U-Boot's file with "Improper version (0xeafffffe) read from Image
Header Table", because it follows the table offset 0 that mkimage writes without checking that there
is a table.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from builder.errors import UserError
from builder.spec.models import Soc
from builder.untrusted.reading import UnreadableError, plain_file

WIDTH_DETECTION: Final = 0xAA995566
IDENTIFICATION: Final = 0x584C4E58  # "XLNX" as one word; in the file, XNLX
PMU_BYTES: Final = 128 * 1024
"""Size of the memory of Zynq UltraScale+'s platform management unit, in bytes."""

_MAX_BYTES: Final = 256 << 20
_MAX_PARTITIONS: Final = 64
_LONGEST_NAME: Final = 256
"""Limits: bytes of a file, partitions in it (bootgen writes 32 at most), and bytes of a name."""

_TABLE_VERSIONS: Final = (0x01010000, 0x01020000)
_ENCRYPTION: Final = (0, 0xA5C3C5A3, 0x3A5C3C5A)  # none; the key in eFUSEs; in battery-backed RAM


@dataclass(frozen=True, kw_only=True)
class HeaderFormat:
    """The parts of a boot header that differ between the SoC families.

    Attributes:
        length: size of the header in bytes; the first stage starts there or later.
        words: names of the words from 0x20 on, up to the checksum.
        loads: the range of addresses for the first stage.
        tables: whether tables of partitions are verified.
    """

    length: int
    words: tuple[str, ...]
    loads: range
    tables: bool


FORMATS: Final = {
    Soc.ZYNQ: HeaderFormat(
        length=0x8C0,
        words=(
            *("width", "identification", "encryption", "user", "offset"),
            *("length", "load", "entry", "total", "style"),
        ),
        # The part of the on-chip memory that the BootROM leaves free, which is at address 0 then.
        loads=range(192 * 1024),
        tables=True,
    ),
    Soc.ZYNQMP: HeaderFormat(
        length=0x9C0,
        words=(
            *("width", "identification", "encryption", "load", "offset"),
            *("pmu", "total pmu", "length", "total", "attributes"),
        ),
        # The on-chip memory up to where the first stage puts Trusted Firmware (its BL31_BASE).
        loads=range(0xFFFC0000, 0xFFFEA000),
        tables=False,
    ),
}


class BootImageError(UserError, ValueError):
    """A file that is not a boot image of its family, or is damaged."""


@dataclass(frozen=True, kw_only=True)
class BootHeader:
    """The BootROM header. Sizes and offsets are in bytes; offsets count from the start of the file.

    `length` is the header's value, which is too large in mkimage's files (see `_header`): the
    actual first stage is `BootImage.first_stage`.
    """

    source_offset: int
    length: int
    load_address: int
    entry: int
    pmu_length: int
    image_table_offset: int
    partition_table_offset: int


@dataclass(frozen=True, kw_only=True)
class BootImage:
    """A boot image; `pmu` is empty on Zynq-7000."""

    header: BootHeader
    pmu: bytes = field(repr=False)
    first_stage: bytes = field(repr=False)


def parse(path: Path, soc: Soc) -> BootImage:
    """Read a BOOT.BIN and verify all checksums in it.

    Raises:
        BootImageError: it cannot be read, is not a boot image, or has a wrong checksum or length.
    """
    try:
        data = plain_file(path, most=_MAX_BYTES)
    except UnreadableError as error:
        raise BootImageError(f"{path}: it {error.reason}") from error
    try:
        return _parse(data, FORMATS[soc])
    except BootImageError as error:
        raise BootImageError(f"{path}: {error.message}", hint=error.hint) from error
    except struct.error as error:
        raise BootImageError(f"{path}: it ends too early") from error


def _parse(data: bytes, form: HeaderFormat) -> BootImage:
    header = _header(data, form)
    if form.tables and header.image_table_offset:
        _verify_partitions(data, header)
    pmu_end = header.source_offset + header.pmu_length
    return BootImage(
        header=header,
        pmu=data[header.source_offset : pmu_end],
        first_stage=data[pmu_end : pmu_end + header.length],
    )


def _header(data: bytes, form: HeaderFormat) -> BootHeader:
    if len(data) < form.length:
        raise BootImageError(
            f"it is shorter ({len(data)} bytes) than a boot header ({form.length})"
        )
    numbers = struct.unpack_from(f"<{len(form.words) + 1}I", data, 0x20)
    words, checksum = dict(zip(form.words, numbers[:-1], strict=True)), numbers[-1]
    if words["width"] != WIDTH_DETECTION or words["identification"] != IDENTIFICATION:
        raise BootImageError(
            f"no boot header: {words['width']:#010x} {words['identification']:#010x} at 0x20, where"
            f" {WIDTH_DETECTION:#010x} {IDENTIFICATION:#010x} belongs",
            hint="the file was not made for the BootROM; use mkimage or bootgen",
        )
    expected = _complement(numbers[:-1])
    if checksum != expected:
        raise BootImageError(f"the header's checksum is {checksum:#010x}, not {expected:#010x}")
    if words["encryption"] not in _ENCRYPTION:
        raise BootImageError(f"the encryption word {words['encryption']:#010x} is unknown")
    offset, length, load, total = (words[name] for name in ("offset", "length", "load", "total"))
    pmu = words.get("total pmu", 0)
    if offset % 64 or offset < form.length:
        raise BootImageError(f"the first stage cannot start at {offset:#x}")
    # On Zynq-7000, mkimage counts the header as part of the first stage: the length is the file's.
    if total != len(data) and offset + pmu + total > len(data):
        raise BootImageError(
            f"the first stage ends at {offset + pmu + total}, the file at {len(data)} bytes:"
            " truncated"
        )
    if load not in form.loads:
        raise BootImageError(f"the first stage cannot be loaded to {load:#010x}")
    room = form.loads.stop - load
    if not 0 < length <= room:
        raise BootImageError(
            f"a first stage of {length} bytes does not fit the {room} at {load:#010x}",
            hint="disable features of SPL",
        )
    # Zynq UltraScale+ has one address for both: the BootROM starts the program where it loads it.
    entry = words.get("entry", load)
    if not load <= entry < load + length:
        raise BootImageError(
            f"the first stage is loaded to {load:#010x} and started at {entry:#010x}, outside of"
            f" its {length} bytes: the board would print nothing",
            hint="set the entry point by mkimage's option -e, or for bootgen in the ELF file",
        )
    if pmu > PMU_BYTES:
        raise BootImageError(f"PMU firmware of {pmu} bytes does not fit the PMU's {PMU_BYTES}")
    image_table, partition_table = struct.unpack_from("<2I", data, 0x98)
    return BootHeader(
        source_offset=offset,
        length=length,
        load_address=load,
        entry=entry,
        pmu_length=pmu,
        image_table_offset=image_table,
        partition_table_offset=partition_table,
    )


def _verify_partitions(data: bytes, header: BootHeader) -> None:
    (version,) = struct.unpack_from("<I", data, header.image_table_offset)
    if version not in _TABLE_VERSIONS:
        raise BootImageError(f"the image table has the unknown version {version:#010x}")
    for index in range(_MAX_PARTITIONS + 1):
        # Offsets and lengths in these tables are in units of 4-byte words.
        words = struct.unpack_from("<16I", data, header.partition_table_offset + 64 * index)
        if not any(words[:15]):
            return
        if words[15] != _complement(words[:15]):
            raise BootImageError(
                f"the checksum of partition header {index} is {words[15]:#010x},"
                f" not {_complement(words[:15]):#010x}"
            )
        _verify_partition(data, words, index)
    raise BootImageError(f"it has more than {_MAX_PARTITIONS} partitions")


def _verify_partition(data: bytes, words: tuple[int, ...], index: int) -> None:
    stored, total, offset, checksum_at, name_at = (4 * words[i] for i in (0, 2, 5, 8, 9))
    name, end = _image_name(data, name_at), offset + total
    has_md5 = (words[6] >> 12) & 7 == 1
    if has_md5:
        # bootgen writes the checksums after all data.
        end = max(end, checksum_at + 16)
    if end > len(data):
        raise BootImageError(
            f"partition {index} ({name}) ends at {end}, the file at {len(data)} bytes: truncated"
        )
    # The format uses MD5: it protects against damage, not against an attacker.
    actual = hashlib.md5(data[offset : offset + stored], usedforsecurity=False).digest()
    if has_md5 and data[checksum_at : checksum_at + 16] != actual:
        raise BootImageError(f"the data of partition {index} ({name}) does not match its MD5")


def _image_name(data: bytes, at: int) -> str:
    """Return an image's name: words, first letter in the highest byte, up to a zero word."""
    name = b""
    at += 16
    while len(name) < _LONGEST_NAME and (word := data[at : at + 4]) not in {b"\0\0\0\0", b""}:
        name += word[::-1]
        at += 4
    return name.rstrip(b"\0").decode("ascii", errors="replace")


def _complement(words: tuple[int, ...]) -> int:
    """Return the checksum of a table: the complement of the sum of its words."""
    return ~sum(words) & 0xFFFFFFFF
