# SPDX-License-Identifier: MIT
"""Image to write: its size, its checksum and its block map."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from builder.errors import UserError
from builder.formats.compression import (
    CHUNK,
    MOST,
    SUFFIXES,
    check_sum,
    checksum_beside,
    opened,
    plain_name,
)
from builder.untrusted.reading import parsed_xml, plain_file

Progress: TypeAlias = Callable[[str, int, int], object]
"""Callback with the current action, the bytes done and the total bytes."""


@dataclass(frozen=True, kw_only=True)
class BlockMap:
    """Content of a .bmap file: the image's size in bytes, and its ranges with data.

    A range is a pair of its first byte and the byte after its last.
    """

    path: Path
    size: int
    ranges: tuple[tuple[int, int], ...]

    @property
    def mapped(self) -> int:
        """Total bytes of the ranges."""
        return sum(end - start for start, end in self.ranges)


@dataclass(frozen=True, kw_only=True)
class CardImage:
    """An image file, possibly compressed, with its block map."""

    path: Path
    block_map: BlockMap | None

    @property
    def packed(self) -> bool:
        """Whether it is compressed (with one of the SUFFIXES)."""
        return self.path.suffix in SUFFIXES

    def size(self, progress: Progress) -> int:
        """Return the size of the image in bytes.

        A compressed image without a block map is decompressed once to determine its size.

        Raises:
            UserError: the image is damaged, or the block map belongs to another image.
        """
        if not self.packed:
            size = self.path.stat().st_size
            if self.block_map and self.block_map.size != size:
                raise UserError(
                    f"{self.block_map.path} is the map of an image of {self.block_map.size} bytes; "
                    f"{self.path} has {size}",
                    hint="download both again, or remove the map to write the whole image",
                )
            return size
        if self.block_map:
            return self.block_map.size
        size, packed = 0, self.path.stat().st_size
        progress("unpacking", 0, packed)
        with opened(self.path) as stream:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
                if size > MOST:
                    raise UserError(f"{self.path} unpacks to more than {MOST >> 40} TiB")
        progress("unpacking", packed, packed)
        return size

    def check(self, progress: Progress) -> bool:
        """Verify the image with the checksum file beside it; return whether there is one.

        Raises:
            UserError: the checksum differs.
        """
        if checksum_beside(self.path) is None:
            return False
        digest, done, total = hashlib.sha256(), 0, self.path.stat().st_size
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                progress("checksum", done, total)
        check_sum(self.path, digest.hexdigest())
        return True


def card_image(path: Path) -> CardImage:
    """Return an image with its block map, if there is one beside it.

    Raises:
        UserError: there is no such file, or the map cannot be read.
    """
    if not path.is_file():
        what = "is not a file" if path.exists() else "there is no such file"
        raise UserError(
            f"{path}: {what}", hint="give an image file, or --board NAME for a built image"
        )
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty", hint="download or build it again")
    names = dict.fromkeys(
        (f"{path.name}.bmap", f"{plain_name(path)}.bmap", f"{Path(plain_name(path)).stem}.bmap")
    )
    found = next((path.parent / name for name in names if (path.parent / name).is_file()), None)
    return CardImage(path=path, block_map=read_map(found) if found else None)


def read_map(path: Path) -> BlockMap:
    """Read a .bmap file (bmap-tools, format versions 1.0 to 2.0).

    Raises:
        UserError: it is not a block map.
    """
    try:
        root = parsed_xml(plain_file(path))
        block, size = (_number(root.findtext(key, "")) for key in ("BlockSize", "ImageSize"))
        texts = [item.text or "" for item in root.iterfind("BlockMap/Range")]
        ranges = [*_ranges(texts, block, size)]
    except ValueError as error:
        raise UserError(
            f"{path} is not a block map: {error}",
            hint="download it again, or remove it to write the whole image",
        ) from error
    return BlockMap(path=path, size=size, ranges=tuple(ranges))


def _ranges(texts: Sequence[str], block: int, size: int) -> Iterator[tuple[int, int]]:
    """Convert ranges of blocks to ranges of bytes; they must be in order and within the image."""
    before = 0
    for text in texts:
        first, _, last = text.partition("-")
        start, end = _number(first) * block, (_number(last or first) + 1) * block
        if not before <= start < min(end, size):
            raise ValueError(f"the range {text.strip()!r} is out of order, or beyond the image")
        before = end
        yield start, min(end, size)


def _number(text: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,18}\s*", text, re.ASCII):
        raise ValueError(f"{text.strip()[:40]!r} is not a number")
    return int(text)
