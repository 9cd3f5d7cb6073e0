# SPDX-License-Identifier: MIT
"""Small files in the right formats in place of real payloads; they do not boot.

Formats: Devicetree Specification (flattened trees, also FIT), U-Boot's image.h (legacy images),
System V ABI (ELF), Documentation/arch/arm64/booting.rst, UG585 and UG1085 (boot header).
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

ARM, MICROBLAZE, AARCH64 = 40, 189, 183
MARK = b"PetaLinux double "


def elf(machine: int, tag: str) -> bytes:
    """Return an empty ELF executable."""
    wide = machine == AARCH64
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    layout = "<2HI3QI6H" if wide else "<2HI3II6H"
    size = struct.calcsize(layout) + len(ident)
    segment = 56 if wide else 32
    fields = (2, machine, 1, 0x100000, 0, 0, 0, size, segment, 0, 0, 0, 0)
    return ident + struct.pack(layout, *fields) + MARK + tag.encode()


def tree(model: str, tag: str) -> bytes:
    """Return a flattened device tree with only a model."""
    names = (("model", model), ("double,made-from", tag))
    strings = b"".join(name.encode() + b"\0" for name, _ in names)
    body, offset = struct.pack(">I4x", 1), 0
    for name, text in names:
        value = text.encode() + b"\0"
        body += struct.pack(">3I", 3, len(value), offset) + value + bytes(-len(value) % 4)
        offset += len(name) + 1
    body += struct.pack(">2I", 2, 9)
    at = 40 + 16
    sizes = (at + len(body) + len(strings), at, at + len(body), 40, 17, 16, 0)
    head = struct.pack(">10I", 0xD00DFEED, *sizes, len(strings), len(body))
    return head + bytes(16) + body + strings


def legacy(kind: int, name: str, data: bytes, *, architecture: int) -> bytes:
    """Return a legacy U-Boot image: kind 2 is a kernel, 6 a script."""
    if kind == 6:
        data = struct.pack(">2I", len(data), 0) + data
    head = struct.pack(">7I", 0x27051956, 0, 0, len(data), 0, 0, zlib.crc32(data))
    head += struct.pack("4B32s", 5, architecture, kind, 0, name.encode())
    return head[:4] + struct.pack(">I", zlib.crc32(head)) + head[8:] + data


def kernel(name: str, tag: str) -> bytes:
    """Return a file with the header of zImage, uImage or Image."""
    data = MARK + tag.encode()
    if name == "Image":
        return (bytes(0x38) + b"ARM\x64" + bytes(4) + data).ljust(256, b"\0")
    zimage = (bytes(0x24) + struct.pack("<I", 0x016F2818) + data).ljust(256, b"\0")
    return legacy(2, "Linux", zimage, architecture=2) if name == "uImage" else zimage


def boot_image(parts: Iterable[bytes]) -> bytes:
    """Return a boot header with a valid checksum, followed by the parts."""
    body = b"".join(parts)
    words = (0xAA995566, 0x584C4E58, 0, 0x01010000, 0x8C0, len(body), 0, 0, len(body), 1)
    check = ~sum(words) & 0xFFFFFFFF
    head = b"\xfe\xff\xff\xea" * 8 + struct.pack("<11I", *words, check)
    return head.ljust(0x8C0, b"\0") + body


def tar_gz(files: Mapping[str, bytes], trees: Mapping[str, Path]) -> bytes:
    """Return a .tar.gz of files, and of directories at given paths, owned by root."""

    def rooted(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for place, folder in trees.items():
            archive.add(folder, place, filter=rooted)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(out.getvalue(), compresslevel=1, mtime=0)
