# SPDX-License-Identifier: MIT
"""Targets that read boot files, images of cards, and archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import stat
import struct
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from builder.bsp.prebuilt import supplied
from builder.bsp.prebuilt.inspection import bootargs
from builder.bsp.prebuilt.modules import headers_bundle, module_bundles
from builder.bsp.trees import check_devices, memory_size
from builder.flash.image import read_map
from builder.formats import compression as packed
from builder.formats.boot_bin import FORMATS, parse
from builder.formats.devicetree import parse_tree, show
from builder.formats.ext4 import ROOT_INODE, Ext4, superblock
from builder.formats.fit import read_fit
from builder.formats.linux_image import architecture, release, unpacked
from builder.qemu_devicetree.derive import differences
from builder.spec.models import Soc
from builder.untrusted.tree import ForeignTree
from tests.fixtures.boot_files import (
    RELEASE,
    boot_bin,
    fit,
    image_arm64,
    tar,
    tree,
    u_image,
    zimage,
)
from tests.fuzz.judging import AcceptedError, Target
from tests.fuzz.mutation import (
    after_line,
    of_boot_bin,
    of_bytes,
    of_tar,
    of_tree,
    of_xml,
    of_zip,
)

_MOST_FILES = 10_000


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _trees() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [tree(Path(folder))]


def _fits() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [fit(folder, zimage(), tree(folder)), fit(folder, b"kernel", None)]


def _tree(data: bytes, _: Path) -> None:
    found = parse_tree(data)
    for properties in found.values():
        for value in properties.values():
            show(value)
    [*differences(found, {})]
    bootargs(found)
    memory_size(found)
    check_devices(found, Soc.ZYNQ, "ttyPS0,115200")


def _fit(data: bytes, scratch: Path) -> None:
    found = read_fit(_file(scratch, "image.ub", data))
    for name in found.configurations:
        for kind in ("kernel", "fdt", "ramdisk"):
            found.find(name, kind)


def _with_tables() -> bytes:
    """Return a BOOT.BIN with a table of images and one of partitions, as bootgen makes them."""
    data = bytearray(boot_bin())
    end = len(data)
    struct.pack_into("<2I", data, 0x98, end, end + 64)
    words = [16, 16, 16, 0, 0, 0x8C0 // 4, 0, 0, 0, end // 4, *[0] * 5]
    table = struct.pack("<4I", 0x01010000, 1, 0, 0) + b"lbsf" + bytes(44)
    checksum = ~sum(words) & 0xFFFFFFFF
    return bytes(data) + table + struct.pack("<16I", *words, checksum) + bytes(64)


def _boot_bin(soc: Soc) -> Target:
    return Target(
        name=f"boot-bin-{soc.value}",
        seeds=lambda: [boot_bin(soc), *([_with_tables()] if soc is Soc.ZYNQ else [])],
        mutation=of_boot_bin(len(FORMATS[soc].words)),
        run=lambda data, scratch: parse(_file(scratch, "BOOT.BIN", data), soc),
    )


def _kernel(data: bytes, _: Path) -> None:
    kernel = unpacked(data)
    architecture(kernel)
    release(kernel)


_MAP = b"""<?xml version="1.0" ?>
<bmap version="2.0"><ImageSize>1048576</ImageSize><BlockSize>4096</BlockSize>
<BlocksCount>256</BlocksCount><MappedBlocksCount>3</MappedBlocksCount>
<BlockMap><Range chksum="x">0-1</Range><Range>255</Range></BlockMap></bmap>
"""


def _map(data: bytes, scratch: Path) -> None:
    found = read_map(_file(scratch, "x.bmap", data))
    for start, end in found.ranges:
        if not 0 <= start <= end <= found.size:
            raise AcceptedError(f"a range from {start} to {end} of {found.size} bytes")


def _small_ext4(*options: str) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "files")
        (folder / "etc").mkdir(parents=True)
        (folder / "etc/os-release").write_text("ID=debian\n")
        (folder / "link").symlink_to("etc/os-release")
        (folder / "long").symlink_to("x" * 100)
        (folder / "large").write_bytes(b"l" * 20_000)
        image = Path(name, "image")
        words = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-N", "32", "-d", str(folder)]
        path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        words += [*options, str(image), "200k"]
        subprocess.run(words, check=True, env=path, capture_output=True)
        return image.read_bytes()


def _ext4s() -> list[bytes]:
    # Without checksums, damage is seen by what reads it.
    return [_small_ext4("-O", "^metadata_csum,^has_journal")]


def _superblock(data: bytes, scratch: Path) -> None:
    found = superblock(_file(scratch, "image", bytes(1024) + data))
    if found.is_one:
        _ = found.block, found.inode, found.size, found.written, found.uuid, found.label
        _ = found.needs_recovery


def _ext4(data: bytes, scratch: Path) -> None:
    """Walk through a filesystem."""
    with Ext4(_file(scratch, "image", data)) as filesystem:
        todo = [ROOT_INODE]
        seen: set[int] = set()
        while todo and len(seen) < _MOST_FILES:
            inode = filesystem.inode(number := todo.pop())
            if number in seen:
                continue
            seen.add(number)
            filesystem.attributes(inode)
            if inode.is_directory:
                todo += filesystem.entries(number).values()
            elif stat.S_ISREG(inode.mode) and inode.size < 1 << 20:
                for _ in filesystem.content(inode):
                    pass
        for path in ("/etc/os-release", "/link", "/long"):
            filesystem.read(path)


_PACK: Mapping[str, bytes] = {
    ".xz": lzma.compress(b"image" * 100),
    ".gz": gzip.compress(b"image" * 100, mtime=0),
    ".bz2": bz2.compress(b"image" * 100),
    # Raw blocks of RFC 8878, 3.1.1.
    ".zst": bytes.fromhex("28b52ffd2005290000696d616765"),
}


def _packed_images() -> list[bytes]:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.img", b"image" * 100)
    contents = {**_PACK, ".zip": made.getvalue()}
    return [suffix.encode() + b"\n" + content for suffix, content in contents.items()]


def _packed(data: bytes, scratch: Path) -> None:
    suffix, _, content = data.partition(b"\n")
    name = suffix.decode(errors="replace")
    if name not in packed.SUFFIXES:
        return
    with packed.opened(_file(scratch, f"x.img{name}", content)) as stream:
        while stream.read(packed.CHUNK):
            pass


def _zips() -> list[bytes]:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("given/BOOT.BIN", boot_bin())
        archive.writestr("given/boot.scr", b"bootm")
        archive.writestr(f"given/modules/{RELEASE}/kernel/some.ko", b"\x7fELF")
    return [made.getvalue()]


def _fresh(scratch: Path) -> Path:
    """Return a directory that is not there yet, in one that holds nothing else."""
    inner = scratch / "inner"
    shutil.rmtree(inner, ignore_errors=True)
    inner.mkdir()
    return inner / "unpacked"


def _nothing_beside(folder: Path) -> None:
    others = [path.name for path in folder.parent.iterdir() if path != folder]
    links = [path for path in folder.rglob("*") if path.is_symlink()] if folder.exists() else []
    if others or links:
        raise AcceptedError(f"an archive made {others} and {links}")


def _boot_files(data: bytes, scratch: Path) -> None:
    folder = _fresh(scratch)
    try:
        supplied.unpack(_file(scratch, "x.zip", data), folder)
        supplied.digest(folder)
    finally:
        _nothing_beside(folder)


def _archives() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "modules.tgz")
        names = {
            f"lib/modules/{RELEASE}/kernel/some.ko": b"\x7fELF",
            f"lib/modules/{RELEASE}/modules.order": b"kernel/some.ko\n",
            "Makefile": b"all:\n",
        }
        tar(path, names)
        return [path.read_bytes()]


def _modules(data: bytes, scratch: Path) -> None:
    folder = scratch / "boot"
    folder.mkdir(exist_ok=True)
    for name in ("modules.tar", "headers.tar"):
        _file(folder, name, data)
    target = _fresh(scratch)
    target.mkdir()
    headers = headers_bundle(folder)
    assert headers
    try:
        for bundle in module_bundles(folder):
            for found in bundle.releases()[:3]:
                bundle.copy_modules(found, ForeignTree(target), "modules")
        headers.copy_headers(ForeignTree(target), "headers")
    finally:
        _nothing_beside(target)


TARGETS = (
    Target(name="device-tree", seeds=_trees, mutation=of_tree, run=_tree, allowed=(ValueError,)),
    Target(name="fit", seeds=_fits, mutation=of_tree, run=_fit),
    *map(_boot_bin, Soc),
    Target(
        name="kernel",
        seeds=lambda: [zimage(), u_image(zimage()), image_arm64(), gzip.compress(image_arm64())],
        mutation=of_bytes,
        run=_kernel,
    ),
    Target(name="block-map", seeds=lambda: [_MAP], mutation=of_xml, run=_map),
    Target(
        name="ext4-superblock",
        seeds=lambda: [_small_ext4()[1024:2048]],
        mutation=of_bytes,
        run=_superblock,
    ),
    Target(name="ext4", seeds=_ext4s, mutation=of_bytes, run=_ext4),
    Target(
        name="packed-image",
        seeds=_packed_images,
        mutation=after_line({".zip": of_zip}),
        run=_packed,
    ),
    Target(name="boot-files-zip", seeds=_zips, mutation=of_zip, run=_boot_files),
    Target(name="module-archive", seeds=_archives, mutation=of_tar, run=_modules),
)
