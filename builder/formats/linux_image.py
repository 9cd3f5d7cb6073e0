# SPDX-License-Identifier: MIT
"""Kernel images as boards start them: Image, zImage, uImage, and any of them in gzip."""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Iterable, Iterator

KERNELS = ("image.ub", "fitImage", "zImage", "Image", "Image.gz", "uImage")
"""File names of the kernel on a boot partition, in the order in which boot scripts look for it."""

_U_BOOT = b"\x27\x05\x19\x56"
_U_BOOT_HEADER = 64
_GZIP = b"\x1f\x8b\x08"
_XZ = b"\xfd7zXZ\0"
_MOST = 256 << 20
"""Bytes that a kernel may unpack to, and that unpacking it may take."""

_MOST_TRIED = 16
"""Places of a kernel that look like the beginning of something packed."""

_BANNER = re.compile(rb"Linux version (\d[^\s\0]*) \(")


def kernel_name(names: Iterable[str]) -> str | None:
    """Return the kernel among the files of a boot partition, as spelled there; None if none is one.

    FAT ignores the case of names.
    """
    spelled = {name.lower(): name for name in names}
    return next((spelled[name.lower()] for name in KERNELS if name.lower() in spelled), None)


def unpacked(data: bytes) -> bytes:
    """Return a kernel without what only U-Boot needs: its header of a uImage, and gzip."""
    if data.startswith(_U_BOOT):
        data = data[_U_BOOT_HEADER:]
    if data.startswith(_GZIP):
        data = _inflated(data) or data
    return data


def architecture(data: bytes) -> str | None:
    """Return what Linux calls the architecture of an unpacked kernel; None if it does not say.

    Only arm64's Image (Documentation/arm64/booting.rst) and arm's zImage
    (arch/arm/boot/compressed/head.S) have a mark.
    """
    if data[0x38:0x3C] == b"ARM\x64":
        return "arm64"
    if data[0x24:0x28] in (b"\x18\x28\x6f\x01", b"\x01\x6f\x28\x18"):
        return "arm"
    return None


def release(data: bytes) -> str | None:
    """Return the release of an unpacked kernel, as `uname -r` says it.

    None: it is packed by what Python cannot unpack (LZ4, LZO, zstd), or is no kernel.
    """
    for content in _contents(data):
        found = _BANNER.search(content)
        if found:
            return found[1].decode(errors="replace")
    return None


def _contents(data: bytes) -> Iterator[bytes]:
    """Yield a kernel, and what may be the kernel that a zImage unpacks."""
    yield data
    view = memoryview(data)
    for magic, unpack in ((_GZIP, _inflated), (_XZ, _unxz)):
        at = data.find(magic)
        for _ in range(_MOST_TRIED):
            if at < 0:
                break
            content = unpack(view[at:])
            if content:
                yield content
            at = data.find(magic, at + 1)


def _inflated(data: bytes | memoryview) -> bytes | None:
    try:
        return zlib.decompressobj(wbits=31).decompress(data, _MOST)
    except zlib.error:
        return None


def _unxz(data: bytes | memoryview) -> bytes | None:
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST).decompress(data, _MOST)
    except lzma.LZMAError:
        return None
