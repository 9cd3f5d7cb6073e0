# SPDX-License-Identifier: MIT
"""Small card images from sfdisk, mkfs.vfat and mcopy, and damaged ones."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.formats.card_image import SECTOR, CardError, check_card

PROGRAMS = ("sfdisk", "mkfs.vfat", "mcopy", "mren")
pytestmark = pytest.mark.skipif(
    any(shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None for name in PROGRAMS),
    reason=f"needs {', '.join(PROGRAMS)}",
)
MIB = 1 << 20
BOOT_BIN = bytes(range(251)) * 70
SIZES = {"16": 8, "32": 40}
"""MiB of the boot partition by the kind of its FAT."""


def run(*argv: object, stdin: str = "") -> None:
    words = [str(word) for word in argv]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    subprocess.run(words, input=stdin, text=True, check=True, env=environment, capture_output=True)


def card(folder: Path, kind: str = "16", *files: str) -> Path:
    """Return a card: a FAT with BOOT.BIN and other files that come before it, and room for a root."""
    image, size = folder / "card.img", SIZES[kind]
    with image.open("wb") as file:
        file.truncate((2 + size) * MIB)
    table = (
        f"label: dos\nstart={MIB // SECTOR}, size={size * MIB // SECTOR}, "
        f"type={'c' if kind == '32' else 'e'}, bootable\ntype=83\n"
    )
    run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", image, stdin=table)
    run("mkfs.vfat", "-F", kind, "-s", "1", "--offset", MIB // SECTOR, image, size * 1024)
    for name in (*files, "BOOT.BIN"):
        path = folder / name
        path.write_bytes(BOOT_BIN)
        run("mcopy", "-i", f"{image}@@{MIB}", path, f"::/{name}")
    return image


def patched(image: Path, *changes: tuple[int, bytes]) -> Path:
    """Return the card with other bytes at these offsets."""
    with image.open("r+b") as file:
        for at, data in changes:
            file.seek(at)
            file.write(data)
    return image


ENTRY = 446
"""Offset of the partition table's first entry; each has 16 bytes."""


@pytest.mark.parametrize("kind", SIZES)
def test_a_card_that_a_board_starts_from(tmp_path: Path, kind: str) -> None:
    check_card(card(tmp_path, kind), BOOT_BIN)


def test_a_root_directory_of_many_clusters(tmp_path: Path) -> None:
    names = [f"a long name, which takes several entries, {number}" for number in range(20)]
    check_card(card(tmp_path, "32", *names), BOOT_BIN)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ([(510, b"\0\0")], "has no partition table"),
        ([(ENTRY, b"\0")], "an active flag not on its first partition alone: U-Boot would look"),
        ([(ENTRY, b"\0"), (ENTRY + 16, b"\x80")], "an active flag not on its first"),
        ([(ENTRY + 4, b"\x0c")], "has type 0x0c and contains a FAT16, which is type 0x0e"),
        ([(ENTRY + 4, b"\x07")], "has type 0x07"),
        ([(ENTRY + 20, b"\x82")], "second partition of type 0x82"),
        ([(ENTRY + 20, b"\0")], "has 1 partitions, not 2: the kernel"),
        ([(ENTRY + 8, struct.pack("<I", 8 * 2048))], "overlap"),
        ([(ENTRY + 28, struct.pack("<I", 9999999))], "second partition beyond its end"),
        ([(ENTRY + 24, struct.pack("<II", 9 * 2048 + 1, 63))], "not aligned to 1 MiB"),
        ([(MIB + 510, b"\0\0")], "has no FAT with sectors of 512 bytes"),
        ([(MIB + 11, struct.pack("<H", 4096))], "has no FAT with sectors of 512 bytes"),
        ([(MIB + 13, b"\0")], "has clusters of 0 sectors"),
        ([(MIB + 13, b"\x80")], "has clusters of 128 sectors"),
        ([(MIB + 13, b"\x08")], "has a FAT12"),
        ([(MIB + 19, b"\0\0"), (MIB + 32, struct.pack("<I", 16385))], "16385 sectors, more than"),
        ([(MIB + 22, b"\0\0"), (MIB + 36, struct.pack("<I", 64))], "laid out as FAT32"),
    ],
)
def test_what_a_board_would_stumble_over(
    tmp_path: Path, changes: list[tuple[int, bytes]], complaint: str
) -> None:
    with pytest.raises(CardError, match=complaint) as caught:
        check_card(patched(card(tmp_path), *changes), BOOT_BIN)
    assert caught.value.hint


def lead(image: Path, cluster: int, to: int) -> None:
    """Link a cluster of the FAT16 to another one; BOOT.BIN begins at cluster 2."""
    with image.open("rb") as file:
        file.seek(MIB + 14)
        (reserved,) = struct.unpack("<H", file.read(2))
    patched(image, (MIB + reserved * SECTOR + 2 * cluster, struct.pack("<H", to)))


def lead_back(image: Path) -> None:
    lead(image, 3, to=2)


def lead_out(image: Path) -> None:
    lead(image, 2, to=0xFFF0)


def rename(image: Path) -> None:
    run("mren", "-i", f"{image}@@{MIB}", "::/BOOT.BIN", "BOOT.BIN.old")


def spoil(image: Path) -> None:
    patched(image, (image.read_bytes().index(BOOT_BIN[:1024]) + 600, b"\0"))


@pytest.mark.parametrize(
    ("breaking", "complaint"),
    [
        (lead_back, "endless chain"),
        (lead_out, "chain that leaves it"),
        (rename, "has no BOOT.BIN: the BootROM"),
        (spoil, "is not the one that was built"),
    ],
)
def test_a_first_stage_that_is_not_there(
    tmp_path: Path, breaking: Callable[[Path], None], complaint: str
) -> None:
    image = card(tmp_path)
    breaking(image)
    with pytest.raises(CardError, match=complaint):
        check_card(image, BOOT_BIN)


def test_a_fat_that_is_larger_than_its_partition(tmp_path: Path) -> None:
    image = patched(card(tmp_path), (ENTRY + 12, struct.pack("<I", 2048)))
    with pytest.raises(CardError, match="16384 sectors, more than its 2048"):
        check_card(image, BOOT_BIN)
