# SPDX-License-Identifier: MIT
"""Checks that the BootROM and U-Boot can read a finished card image.

The BootROM of both families loads BOOT.BIN from a FAT16 or FAT32 in the first partition (AMD's
UG585, chapter 6, and UG1137, "SD Boot Mode"); U-Boot looks for boot.scr on the partition that is
marked active. If the BootROM does not find a file, it prints nothing on the console.

The reader does not rely on sfdisk, mkfs.vfat and mcopy, which write the image. Formats: for the
partition table, the UEFI specification 2.10, 5.2.1; for FAT, Microsoft's "FAT32 File System
Specification" 1.03.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from builder.errors import StepError

SECTOR: Final = 512
FAT_TYPES: Final = {"16": 0x0E, "32": 0x0C}
"""Type of a partition by the kind of FAT in it, with LBA addressing."""

_LINUX: Final = 0x83
_ACTIVE: Final = 0x80
_SIGNATURE: Final = b"\x55\xaa"
_MIB: Final = 1 << 20
_LARGEST_CLUSTER: Final = 32 * 1024
_FAT12_BELOW, _FAT16_BELOW = 4085, 65525  # clusters
_DIRECTORY, _LABEL = 0x10, 0x08  # of a directory entry's attributes; long names have _LABEL too
_NAME: Final = b"BOOT    BIN"
_SILENT: Final = "the BootROM would find no BOOT.BIN, and the board would print nothing"


class CardError(StepError):
    """A finished image that boards cannot boot."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """An entry of the partition table; `start` and `size` in bytes."""

    active: bool
    kind: int
    start: int
    size: int


def check_card(image: Path, boot_bin: bytes) -> None:
    """Check that a board finds BOOT.BIN with the content `boot_bin` on a card image.

    Raises:
        CardError: it does not.
    """
    with image.open("rb") as file:
        boot = _check_partitions(partitions(file), image.stat().st_size)
        fat = Fat(file, boot)
        if boot.kind != FAT_TYPES[fat.kind]:
            raise CardError(
                f"the first partition has type {boot.kind:#04x} and contains a FAT{fat.kind}, which "
                f"is type {FAT_TYPES[fat.kind]:#04x}: {_SILENT}",
                hint="builder/image/image.py sets the type",
            )
        found = fat.find(_NAME)
    if found is None:
        raise CardError(
            f"the root directory of the boot partition has no BOOT.BIN: {_SILENT}",
            hint="the BootROM reads only names of 8 and 3 characters; check the files that recipes "
            "install in /boot beside the boot files",
        )
    if found != boot_bin:
        raise CardError(
            "BOOT.BIN on the boot partition is not the one that was built: the board would print "
            "nothing, or start another program",
            hint="mcopy (mtools) wrote it; check the files that recipes install in /boot",
        )


def partitions(file: BinaryIO) -> list[Partition]:
    """Return the entries of an image's partition table (MBR) that are in use."""
    file.seek(0)
    record = file.read(SECTOR)
    if record[510:] != _SIGNATURE:
        raise CardError(
            f"the image has no partition table: {_SILENT}",
            hint="sfdisk (fdisk) writes it: builder/image/image.py",
        )
    entries = [struct.unpack("<B3xB3xII", record[at : at + 16]) for at in range(446, 510, 16)]
    return [
        Partition(active=flag == _ACTIVE, kind=kind, start=start * SECTOR, size=sectors * SECTOR)
        for flag, kind, start, sectors in entries
        if kind
    ]


def _check_partitions(found: list[Partition], size: int) -> Partition:
    """Return the boot partition, if all readers of the table find theirs."""
    problem = ""
    if len(found) != 2:
        problem = f"{len(found)} partitions, not 2: the kernel would find no root filesystem"
    elif [part.active for part in found] != [True, False]:
        problem = (
            "an active flag not on its first partition alone: U-Boot would look for boot.scr "
            "elsewhere"
        )
    elif found[1].kind != _LINUX:
        problem = (
            f"a second partition of type {found[1].kind:#04x}, not {_LINUX:#04x}: tools would not "
            "recognize the root filesystem"
        )
    elif found[0].start + found[0].size > found[1].start:
        problem = "partitions that overlap: the kernel would damage the boot files"
    elif found[1].start + found[1].size > size:
        problem = "a second partition beyond its end: the kernel would not mount it"
    elif any(part.start % _MIB for part in found):
        problem = "a partition that is not aligned to 1 MiB: writing to the card would be slow"
    if problem:
        raise CardError(f"the image has {problem}", hint="builder/image/image.py writes the table")
    return found[0]


class Fat:
    """Reader of a FAT16 or FAT32; `kind` is "16" or "32"."""

    def __init__(self, file: BinaryIO, where: Partition) -> None:
        self._file = file
        self._base = where.start
        sector = self._read(0, SECTOR)
        per_sector, per_cluster, reserved, copies, entries, total16, _, length16 = (
            struct.unpack_from("<HBHBHHBH", sector, 11)
        )
        (total32,) = struct.unpack_from("<I", sector, 32)
        length32, _, _, self._root = struct.unpack_from("<IHHI", sector, 36)
        total, length = total16 or total32, length16 or length32
        self._cluster = per_cluster * SECTOR
        if sector[510:] != _SIGNATURE or per_sector != SECTOR or not copies or not length:
            raise _bad(f"has no FAT with sectors of {SECTOR} bytes")
        if per_cluster.bit_count() != 1 or self._cluster > _LARGEST_CLUSTER:
            raise _bad(f"has clusters of {per_cluster} sectors")
        if total * SECTOR > where.size:
            raise _bad(f"has a FAT of {total} sectors, more than its {where.size // SECTOR}")
        self._directory = range(
            (reserved + copies * length) * SECTOR,
            (reserved + copies * length) * SECTOR + entries * 32,
        )
        self._clusters = (total * SECTOR - self._directory.stop) // self._cluster
        self.kind = self._kind(is_32=not length16)
        self._table = self._read(reserved * SECTOR, length * SECTOR)

    def find(self, name: bytes) -> bytes | None:
        """Return the content of a file in the root directory by its short name, 8 and 3 bytes."""
        directory = (
            self._content(self._root)
            if self.kind == "32"
            else self._read(self._directory.start, len(self._directory))
        )
        for at in range(0, len(directory), 32):
            entry = directory[at : at + 32]
            if entry[0] == 0:
                return None
            if entry[:11] == name and not entry[11] & (_DIRECTORY | _LABEL):
                high, low, size = struct.unpack_from("<H4xHI", entry, 20)
                return self._content(high << 16 | low)[:size] if size else b""
        return None

    def _kind(self, *, is_32: bool) -> str:
        """Return the kind of a FAT, which follows from the number of clusters alone."""
        if self._clusters < _FAT12_BELOW:
            raise _bad(f"has a FAT12 ({self._clusters} clusters), which the BootROM does not read")
        if is_32 != (self._clusters >= _FAT16_BELOW):
            raise _bad(
                f"is laid out as FAT{'32' if is_32 else '16'}, but has {self._clusters} clusters: "
                "readers would mistake it for another kind"
            )
        return "32" if is_32 else "16"

    def _content(self, first: int) -> bytes:
        return b"".join(
            self._read(self._directory.stop + (cluster - 2) * self._cluster, self._cluster)
            for cluster in self._chain(first)
        )

    def _chain(self, cluster: int) -> Iterator[int]:
        """Yield the numbers of a file's clusters."""
        form, mask = ("<I", 0x0FFFFFFF) if self.kind == "32" else ("<H", 0xFFFF)
        for _ in range(self._clusters):
            if not 2 <= cluster < self._clusters + 2:
                raise _bad("has a FAT with a chain that leaves it")
            yield cluster
            (entry,) = struct.unpack_from(form, self._table, cluster * struct.calcsize(form))
            cluster = entry & mask
            if cluster >= mask & ~7:  # the end of a chain
                return
        raise _bad("has a FAT with an endless chain")

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(self._base + at)
        data = self._file.read(size)
        if len(data) < size:
            raise _bad("ends too early")
        return data


def _bad(what: str) -> CardError:
    return CardError(
        f"the boot partition {what}: {_SILENT}",
        hint="mkfs.vfat (dosfstools) writes it, with the options of builder/image/image.py; its "
        "size is `partitions.boot` of board.yaml",
    )
