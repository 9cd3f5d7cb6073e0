# SPDX-License-Identifier: MIT
"""Device trees, FIT images, boot images, kernels and filesystems that attack the reader."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.bsp.pmu import pmu_memory
from builder.bsp.trees import memory_size
from builder.errors import StepError, UserError
from builder.formats import boot_bin as bootbin
from builder.formats import devicetree, linux_image
from builder.formats.devicetree import parse_tree, read_tree
from builder.formats.ext4 import Ext4
from builder.formats.ext4_archive import archive_tree
from builder.formats.fit import read_fit
from builder.python_lock.lock import read_lock
from builder.qemu_devicetree.derive import Change, check
from builder.spec.models import Soc
from tests.fixtures.cards import ext4, tool
from tests.unit.formats.test_boot_bin import header

BEGIN, END, PROPERTY, LAST = (struct.pack(">I", token) for token in (1, 2, 3, 9))
SECONDS = 5


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """Limit the processor time of each test."""
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


def dtb(structure: bytes, strings: bytes = b"name\0", *, reserved: bytes = bytes(16)) -> bytes:
    """Return a flattened device tree (Devicetree Specification, 5)."""
    at = 40 + len(reserved)
    size = at + len(structure) + len(strings)
    numbers = (0xD00DFEED, size, at, at + len(structure), 40, 17, 16, 0, len(strings))
    head = struct.pack(">10I", *numbers, len(structure))
    return head + reserved + structure + strings


def node(name: bytes, inside: bytes = b"") -> bytes:
    return BEGIN + (name + b"\0").ljust((len(name) + 4) & ~3, b"\0") + inside + END


def cell(value: bytes, at: int = 0) -> bytes:
    return PROPERTY + struct.pack(">2I", len(value), at) + value.ljust((len(value) + 3) & ~3, b"\0")


def test_a_tree_of_our_own_making_is_read() -> None:
    tree = parse_tree(dtb(node(b"", cell(b"x") + node(b"a", cell(b"yz"))) + LAST))
    assert tree == {"/": {"name": b"x"}, "/a": {"name": b"yz"}}


@pytest.mark.parametrize(
    ("structure", "strings", "problem"),
    [
        ((BEGIN + bytes(4)) * 500_000, b"", "nested more than 64 deep"),
        (node(b"", b"".join(node(b"%d" % n) for n in range(60_000))) + LAST, b"", "50000 nodes"),
        (node(b"", cell(b"") * 600_000) + LAST, b"name\0", "more than 500000 properties"),
        (node(b"", cell(b"") * 100_000) + LAST, b"x" * 8_000_000 + b"\0", "subsection not found"),
        (node(b"x" * 5000) + LAST, b"", "subsection not found"),
        (node(b"x") + LAST, b"", "no root node"),
        (LAST, b"", "no root node"),
        (END + LAST, b"", "pop from empty list"),
        (node(b"\xff") + LAST, b"", "can't decode"),
        (node(b"", PROPERTY + struct.pack(">2I", 1 << 31, 0)) + LAST, b"name\0", "unpack_from"),
    ],
)
def test_a_tree_that_is_too_much_is_refused(structure: bytes, strings: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_tree(dtb(structure, strings))


def test_names_of_nodes_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devicetree, "_MAX_NAMES", 1000)
    with pytest.raises(ValueError, match="names are too long"):
        parse_tree(dtb(node(b"", node(b"x" * 900) + node(b"y" * 900)) + LAST))


def test_a_tree_is_a_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(StepError, match="is not a device tree: it is not a plain file"):
            read_tree(tmp_path / name)


def test_reservations_without_an_end_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.dtb"
    path.write_bytes(dtb(node(b"") + LAST, reserved=b"\xff" * 16))
    with pytest.raises(StepError, match="its reservations have no end"):
        check(path, path, list[Change]())


@pytest.mark.parametrize("cells", [b"", bytes(4), b"\0\0\0\5", b"\xff" * 4, b"\xff" * 4000])
def test_memory_in_cells_that_there_are_not(cells: bytes) -> None:
    tree = {
        "/": {"#address-cells": cells, "#size-cells": cells},
        "/memory": {"device_type": b"memory\0", "reg": bytes(4000)},
    }
    with pytest.raises(UserError, match="#address-cells"):
        memory_size(tree)


# FIT images


def fit(*images: bytes) -> bytes:
    listed = b"".join(node(b"%d" % number, image) for number, image in enumerate(images))
    strings = b"data-size\0data-position\0"
    return dtb(node(b"", node(b"images", listed)) + LAST, strings)


def placed(size: bytes, start: bytes) -> bytes:
    return cell(size) + cell(start, 10)


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        ([placed(struct.pack(">I", 3000), bytes(4))] * 100, "they overlap"),
        ([placed(b"\xff" * 5000, bytes(4))], "data-size has 5000 bytes, too many for a number"),
        ([placed(b"\xff" * 8, bytes(4))], "truncated"),
    ],
)
def test_a_fit_that_is_too_much_is_refused(
    tmp_path: Path, images: list[bytes], problem: str
) -> None:
    path = tmp_path / "image.ub"
    path.write_bytes(fit(*images))
    with pytest.raises(StepError, match=problem):
        read_fit(path)


# Boot images and kernels


def partitions(count: int, *, name: bytes = b"boot" + bytes(4)) -> bytes:
    """Return a boot image with many partitions, each of which spans the whole file."""
    image = bytearray(header())
    table, names = len(image), len(image) + 64
    image += struct.pack("<I", 0x01020000).ljust(64, b"\0") + bytes(16) + name
    image += bytes(-len(image) % 64)
    first = len(image)
    words = [len(PAYLOAD) // 4, 0, len(PAYLOAD) // 4, 0, 0, 0, 1 << 12, 0, 0, names // 4]
    words += [0] * 5
    image += struct.pack("<16I", *words, ~sum(words) & 0xFFFFFFFF) * count
    struct.pack_into("<2I", image, 0x98, table, first)
    return bytes(image)


PAYLOAD = bytes(4096)


def test_a_boot_image_has_so_many_partitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "BOOT.BIN"
    monkeypatch.setattr(bootbin, "_verify_partition", lambda *_: None)
    path.write_bytes(partitions(64) + bytes(64))
    assert bootbin.parse(path, Soc.ZYNQ).header.length == 4096
    path.write_bytes(partitions(100_000))
    with pytest.raises(bootbin.BootImageError, match="more than 64 partitions"):
        bootbin.parse(path, Soc.ZYNQ)


def test_a_partition_with_a_name_without_end(tmp_path: Path) -> None:
    path = tmp_path / "BOOT.BIN"
    path.write_bytes(partitions(1, name=b"long" * 1_000_000))
    with pytest.raises(bootbin.BootImageError, match=r"partition 0 \(.{256}\) does not match"):
        bootbin.parse(path, Soc.ZYNQ)


def test_a_boot_image_and_a_program_are_plain_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(bootbin.BootImageError, match="is not a plain file"):
        bootbin.parse(tmp_path / "pipe", Soc.ZYNQ)
    with pytest.raises(UserError, match="is not a plain file"):
        pmu_memory(tmp_path / "pipe")


def test_a_kernel_that_is_packed_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux_image, "_MOST", 8 << 20)
    bomb = gzip.compress(bytes(64 << 20), 1)[:40_000]
    assert linux_image.release(bomb * 200) is None
    packed = lzma.compress(bytes(8 << 20), preset=1)
    assert linux_image.release(packed[:2000] * 500) is None


# Filesystems


def filesystem(folder: Path, *changes: str) -> Path:
    (folder / "tree/a/b").mkdir(parents=True)
    (folder / "tree/a/file").write_text("x")
    path = ext4(folder / "fs", folder / "tree", "-O", "^metadata_csum,^dir_index")
    if changes:
        script = folder / "changes"
        script.write_text("\n".join(changes) + "\n")
        tool("debugfs", "-w", "-f", script, path)
    return path


@pytest.mark.parametrize("target", ["/", "/a", "/a/b"])
def test_a_directory_in_itself_is_refused(tmp_path: Path, target: str) -> None:
    path = filesystem(tmp_path, f"ln {target} /a/b/again")
    with Ext4(path) as opened, pytest.raises(UserError, match="is a directory with a second name"):
        archive_tree(opened, io.BytesIO())


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    path = filesystem(tmp_path)
    content = path.read_bytes()
    assert content.count(b"file") == 1
    for name in (b"../x", b"/etc", b"a\0b\0"):
        path.write_bytes(content.replace(b"file", name))
        with Ext4(path) as opened, pytest.raises(UserError, match="is not a valid file name"):
            archive_tree(opened, io.BytesIO())


def test_files_with_huge_holes_are_refused(tmp_path: Path) -> None:
    path = filesystem(tmp_path, f"set_inode_field /a/file size {1 << 42}")
    with Ext4(path) as opened, pytest.raises(UserError, match=r"including holes: \./a/file has"):
        archive_tree(opened, io.BytesIO(), most=1 << 30)
    with Ext4(path) as opened, pytest.raises(UserError, match="/a/file has more than 64 MiB"):
        opened.read("/a/file")


def test_a_link_is_no_longer_than_a_path(tmp_path: Path) -> None:
    path = filesystem(tmp_path, "symlink /a/link x", "set_inode_field /a/link size 100000000")
    with Ext4(path) as opened, pytest.raises(UserError, match="is too long"):
        archive_tree(opened, io.BytesIO())


def test_a_deep_tree_is_read(tmp_path: Path) -> None:
    path = filesystem(tmp_path, *(["mkdir d", "cd d"] * 1200))
    with Ext4(path) as opened:
        assert archive_tree(opened, io.BytesIO()) == 1200 + 4


# Lock files


def test_a_lock_file_is_a_plain_text_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is not a plain file"):
        read_lock(tmp_path / "pipe")
    (tmp_path / "lock").write_bytes(b"a==1\xff")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read_lock(tmp_path / "lock")
