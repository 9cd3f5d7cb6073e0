# SPDX-License-Identifier: MIT
"""BOOT.BIN: what the BootROM reads, and what bootgen puts behind it.

The BootROM knows the boot header only: it checks the header's checksum, writes the registers of
the initialisation table, copies the first-stage program into on-chip memory and starts it. That of
Zynq UltraScale+ gives the platform management unit (PMU) its firmware first, if the file has any.
`mkimage -T zynqimage` and `-T zynqmpimage` (U-Boot's spl/boot.bin) stop there: SPL finds U-Boot in
a file of its own. bootgen adds tables of images and partitions, which AMD's first stage (FSBL)
walks through. Offsets and meanings are those of AMD's UG821 (Zynq-7000 software developers guide,
"Boot Image Format"), UG585, 6.3, and UG1283 (bootgen).

Tables are read for Zynq-7000 alone, where bootgen's own reader is no substitute: `bootgen -arch
zynq -read` (2022.2) refuses U-Boot's file with "Improper version (0xeafffffe) read from Image
Header Table": it follows the table offset 0 that mkimage leaves, without looking whether there is
a table.
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
"""The memory of Zynq UltraScale+'s platform management unit, in bytes."""

_MOST_BYTES: Final = 256 << 20
_MOST_PARTITIONS: Final = 64
_LONGEST_NAME: Final = 256
"""Bytes of a file, partitions in it, of which bootgen makes 32 at most, and bytes of a name."""

_TABLE_VERSIONS: Final = (0x01010000, 0x01020000)
_ENCRYPTION: Final = (0, 0xA5C3C5A3, 0x3A5C3C5A)  # none; the key in eFUSEs; in battery-backed RAM


@dataclass(frozen=True, kw_only=True)
class HeaderFormat:
    """The parts of a boot header that differ between the SoC families.

    length: bytes of the header; the first stage starts there or after it.
    words: what stands from 0x20 on, up to the checksum.
    loads: the addresses that the first stage is loaded to, and of the byte after the room for it.
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
        # What the BootROM leaves of the on-chip memory, which is at 0 then.
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
    """The file is no boot image of its family, or is damaged."""


@dataclass(frozen=True, kw_only=True)
class BootHeader:
    """The BootROM header. Sizes and offsets are in bytes, offsets count from the file's start.

    `length` is what the header says, and mkimage says too much (see `_header`): the bytes of the
    first stage are `BootImage.first_stage`.
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
        BootImageError: it cannot be read, is none, or a checksum or a length is wrong.
    """
    try:
        data = plain_file(path, most=_MOST_BYTES)
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
            hint="it is not made for the BootROM; mkimage and bootgen make such files",
        )
    expected = _complement(numbers[:-1])
    if checksum != expected:
        raise BootImageError(f"the header's checksum is {checksum:#010x}, not {expected:#010x}")
    if words["encryption"] not in _ENCRYPTION:
        raise BootImageError(f"the encryption word {words['encryption']:#010x} has no meaning")
    offset, length, load, total = (words[name] for name in ("offset", "length", "load", "total"))
    pmu = words.get("total pmu", 0)
    if offset % 64 or offset < form.length:
        raise BootImageError(f"the first stage cannot start at {offset:#x}")
    # mkimage counts the header of Zynq-7000 as part of the first stage: its length is the file's.
    if total != len(data) and offset + pmu + total > len(data):
        raise BootImageError(
            f"the first stage ends at {offset + pmu + total}, the file at {len(data)} bytes:"
            " cut off"
        )
    if load not in form.loads:
        raise BootImageError(f"the first stage cannot be loaded to {load:#010x}")
    room = form.loads.stop - load
    if not 0 < length <= room:
        raise BootImageError(
            f"a first stage of {length} bytes does not fit the {room} at {load:#010x}",
            hint="take features out of SPL",
        )
    # The header of Zynq UltraScale+ has one address for both: the BootROM starts what it has loaded.
    entry = words.get("entry", load)
    if not load <= entry < load + length:
        raise BootImageError(
            f"the first stage is loaded to {load:#010x} and started at {entry:#010x}, which is not in"
            f" its {length} bytes: the board would print nothing",
            hint="the entry point is given to mkimage by -e, to bootgen by the ELF file",
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
    for index in range(_MOST_PARTITIONS + 1):
        # Offsets and lengths in these tables are counted in 4-byte words.
        words = struct.unpack_from("<16I", data, header.partition_table_offset + 64 * index)
        if not any(words[:15]):
            return
        if words[15] != _complement(words[:15]):
            raise BootImageError(
                f"the checksum of partition header {index} is {words[15]:#010x},"
                f" not {_complement(words[:15]):#010x}"
            )
        _verify_partition(data, words, index)
    raise BootImageError(f"it has more than {_MOST_PARTITIONS} partitions")


def _verify_partition(data: bytes, words: tuple[int, ...], index: int) -> None:
    stored, total, offset, checksum_at, name_at = (4 * words[i] for i in (0, 2, 5, 8, 9))
    name, end = _image_name(data, name_at), offset + total
    has_md5 = (words[6] >> 12) & 7 == 1
    if has_md5:
        # bootgen puts the checksums behind all data.
        end = max(end, checksum_at + 16)
    if end > len(data):
        raise BootImageError(
            f"partition {index} ({name}) ends at {end}, the file at {len(data)} bytes: cut off"
        )
    # MD5 is what the format has; it guards against damage, not against an attacker.
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
    """Return the checksum of all tables: the complement of the words' sum."""
    return ~sum(words) & 0xFFFFFFFF
