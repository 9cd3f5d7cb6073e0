# SPDX-License-Identifier: MIT
"""BOOT.BIN of Zynq-7000: what the BootROM reads, and what bootgen puts behind it.

The BootROM knows the boot header only: it checks the header's checksum, writes the registers of
the initialisation table, copies the first-stage program into on-chip memory and starts it.
`mkimage -T zynqimage` (U-Boot's spl/boot.bin) stops there: SPL finds U-Boot in a file of its own.
bootgen adds tables of images and partitions, which AMD's first stage (FSBL) walks through. Offsets
and meanings are those of AMD's UG821 (Zynq-7000 software developers guide, "Boot Image Format") and
UG585, 6.3.

bootgen's own reader is no substitute: `bootgen -arch zynq -read` (2022.2) refuses U-Boot's file
with "Improper version (0xeafffffe) read from Image Header Table": it follows the table offset 0
that mkimage leaves, without looking whether there is a table.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from builder.errors import UserError

WIDTH_DETECTION: Final = 0xAA995566
IDENTIFICATION: Final = 0x584C4E58  # "XLNX" as one word; in the file, XNLX
OCM_BYTES: Final = 192 * 1024
"""What the BootROM leaves of the on-chip memory for the first stage, in bytes."""

_HEADER_BYTES: Final = 0x8C0
_REGISTERS_AT: Final = 0xA0
_REGISTER_PAIRS: Final = 256
_UNUSED: Final = 0xFFFFFFFF
_TABLE_VERSIONS: Final = (0x01010000, 0x01020000)
_ENCRYPTION: Final = {0: "none", 0xA5C3C5A3: "eFUSE key", 0x3A5C3C5A: "battery-backed key"}
_DESTINATIONS: Final = {0: "none", 1: "PS", 2: "PL"}


class BootImageError(UserError, ValueError):
    """The file is no Zynq-7000 boot image, or is damaged."""


@dataclass(frozen=True, kw_only=True)
class BootHeader:
    """The BootROM header. Sizes and offsets are in bytes, offsets count from the file's start.

    `length` is what the header says, and mkimage says too much (see `_header`): the bytes of the
    first stage are `BootImage.first_stage`.
    """

    encryption: str
    source_offset: int
    length: int
    load_address: int
    entry: int
    total_length: int
    checksum: int
    image_table_offset: int
    partition_table_offset: int


@dataclass(frozen=True, kw_only=True)
class RegisterWrite:
    """One write of the BootROM before it starts the first stage."""

    address: int
    value: int


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One loadable part. Sizes and offsets are in bytes, offsets count from the file's start.

    `checksum` is "MD5" if the data has one (it has been verified then), else None.
    """

    image: str
    offset: int
    length: int
    load_address: int
    entry: int
    destination: str
    encrypted: bool
    signed: bool
    checksum: str | None


@dataclass(frozen=True, kw_only=True)
class BootImage:
    """A boot image. `partitions` is empty for what `mkimage -T zynqimage` makes."""

    header: BootHeader
    registers: tuple[RegisterWrite, ...]
    partitions: tuple[Partition, ...]
    first_stage: bytes = field(repr=False)


def parse(path: Path) -> BootImage:
    """Read a Zynq-7000 BOOT.BIN and verify all checksums in it.

    Raises:
        BootImageError: it cannot be read, is none, or a checksum or a length is wrong.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BootImageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return _parse(data)
    except BootImageError as error:
        raise BootImageError(f"{path}: {error.message}", hint=error.hint) from error
    except struct.error as error:
        raise BootImageError(f"{path}: it ends too early") from error


def _parse(data: bytes) -> BootImage:
    header = _header(data)
    first_stage = data[header.source_offset : header.source_offset + header.length]
    partitions: tuple[Partition, ...] = ()
    if header.image_table_offset:
        partitions = tuple(_partitions(data, header))
    return BootImage(
        header=header,
        registers=tuple(_registers(data)),
        partitions=partitions,
        first_stage=first_stage,
    )


def _header(data: bytes) -> BootHeader:
    if len(data) < _HEADER_BYTES:
        raise BootImageError(
            f"it is shorter ({len(data)} bytes) than a boot header ({_HEADER_BYTES})"
        )
    words = struct.unpack_from("<11I", data, 0x20)
    width, identification, encryption, _, offset, length, load, entry, total, _, checksum = words
    if width != WIDTH_DETECTION or identification != IDENTIFICATION:
        raise BootImageError(
            f"no boot header: {width:#010x} {identification:#010x} at 0x20, where"
            f" {WIDTH_DETECTION:#010x} {IDENTIFICATION:#010x} belongs",
            hint="it is not made for the BootROM of Zynq; BOOT.BIN is U-Boot's spl/boot.bin",
        )
    expected = _complement(words[:10])
    if checksum != expected:
        raise BootImageError(f"the header's checksum is {checksum:#010x}, not {expected:#010x}")
    if encryption not in _ENCRYPTION:
        raise BootImageError(f"the encryption word {encryption:#010x} has no meaning")
    if offset % 64 or offset < _HEADER_BYTES:
        raise BootImageError(f"the first stage cannot start at {offset:#x}")
    # mkimage counts the header as part of the first stage: its length is the file's.
    if total != len(data) and offset + total > len(data):
        raise BootImageError(
            f"the first stage ends at {offset + total}, the file at {len(data)} bytes: cut off"
        )
    if not 0 < length <= OCM_BYTES:
        raise BootImageError(
            f"a first stage of {length} bytes does not fit the BootROM's {OCM_BYTES}",
            hint="take features out of SPL",
        )
    image_table, partition_table = struct.unpack_from("<2I", data, 0x98)
    return BootHeader(
        encryption=_ENCRYPTION[encryption],
        source_offset=offset,
        length=length,
        load_address=load,
        entry=entry,
        total_length=total,
        checksum=checksum,
        image_table_offset=image_table,
        partition_table_offset=partition_table,
    )


def _registers(data: bytes) -> list[RegisterWrite]:
    """Return the initialisation table; a pair whose address is all ones is not used."""
    pairs = struct.unpack_from(f"<{2 * _REGISTER_PAIRS}I", data, _REGISTERS_AT)
    return [
        RegisterWrite(address=address, value=value)
        for address, value in zip(pairs[::2], pairs[1::2], strict=True)
        if address != _UNUSED
    ]


def _partitions(data: bytes, header: BootHeader) -> list[Partition]:
    (version,) = struct.unpack_from("<I", data, header.image_table_offset)
    if version not in _TABLE_VERSIONS:
        raise BootImageError(f"the image table has the unknown version {version:#010x}")
    found: list[Partition] = []
    at = header.partition_table_offset
    while True:
        # Offsets and lengths in these tables are counted in 4-byte words.
        words = struct.unpack_from("<16I", data, at)
        if not any(words[:15]):
            return found
        if words[15] != _complement(words[:15]):
            raise BootImageError(
                f"the checksum of partition header {len(found)} is {words[15]:#010x},"
                f" not {_complement(words[:15]):#010x}"
            )
        found.append(_partition(data, words, len(found)))
        at += 64


def _partition(data: bytes, words: tuple[int, ...], index: int) -> Partition:
    stored, plain, total, load, entry, offset, attributes, _, checksum_at, image, signature = words[
        :11
    ]
    offset, length, end = 4 * offset, 4 * plain, 4 * (offset + total)
    name = _image_name(data, 4 * image)
    has_checksum = (attributes >> 12) & 7 == 1
    if has_checksum:
        # bootgen puts the checksums behind all data.
        end = max(end, 4 * checksum_at + 16)
    if end > len(data):
        raise BootImageError(
            f"partition {index} ({name}) ends at {end}, the file at {len(data)} bytes: cut off"
        )
    checksum = None
    if has_checksum:
        checksum = "MD5"
        # MD5 is what the format has; it guards against damage, not against an attacker.
        actual = hashlib.md5(data[offset : offset + 4 * stored], usedforsecurity=False).digest()
        if data[4 * checksum_at : 4 * checksum_at + 16] != actual:
            raise BootImageError(f"the data of partition {index} ({name}) does not match its MD5")
    destination = (attributes >> 4) & 0xF
    return Partition(
        image=name,
        offset=offset,
        length=length,
        load_address=load,
        entry=entry,
        destination=_DESTINATIONS.get(destination, f"device {destination}"),
        encrypted=stored != plain,
        signed=signature != 0,
        checksum=checksum,
    )


def _image_name(data: bytes, at: int) -> str:
    """Return an image's name: words, first letter in the highest byte, up to a zero word."""
    name = b""
    at += 16
    while (word := data[at : at + 4]) not in {b"\0\0\0\0", b""}:
        name += word[::-1]
        at += 4
    return name.rstrip(b"\0").decode("ascii", errors="replace")


def _complement(words: tuple[int, ...]) -> int:
    """Return the checksum of all tables: the complement of the words' sum."""
    return ~sum(words) & 0xFFFFFFFF
