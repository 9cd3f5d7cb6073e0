# SPDX-License-Identifier: MIT
"""FIT images: files packed in a device tree by U-Boot's mkimage (image.ub, u-boot.img)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import StepError
from builder.formats.devicetree import MOST_BYTES, read_tree
from builder.untrusted.reading import plain_file

MAGIC = b"\xd0\x0d\xfe\xed"
"""First bytes of a FIT or a device tree."""


@dataclass(frozen=True, kw_only=True)
class FitImage:
    """A file in a FIT; `arch` is U-Boot's name of the architecture, "" if missing."""

    name: str
    arch: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A FIT: its files in order, and its configurations, which name one file of each kind.

    `default` is the configuration that U-Boot uses unless another one is selected.
    """

    images: Mapping[str, FitImage]
    configurations: Mapping[str, Mapping[str, str]]
    default: str

    def find(self, configuration: str, kind: str) -> FitImage | None:
        """Return a configuration's `kernel`, `fdt`, `ramdisk`, ...; None if missing."""
        name = self.configurations.get(configuration, {}).get(kind)
        return self.images.get(name) if name else None


def read_fit(path: Path) -> Fit:
    """Read a FIT, with its data inside (mkimage's default) or after it (`mkimage -E`).

    Raises:
        StepError: it is not a FIT, or is damaged.
    """
    tree, blob = read_tree(path), plain_file(path, most=MOST_BYTES)
    images: dict[str, FitImage] = {}
    left = len(blob)
    try:
        for parts, properties in _children(tree, "images"):
            data = _data(blob, properties, most=left)
            left -= len(data)
            images[parts[-1]] = FitImage(name=parts[-1], arch=_text(properties, "arch"), data=data)
    except ValueError as error:
        raise StepError(f"{path}: {error}") from error
    configurations = {
        parts[-1]: {key: _text(properties, key) for key in properties}
        for parts, properties in _children(tree, "configurations")
    }
    default = _text(tree.get("/configurations", {}), "default")
    return Fit(
        images=images,
        configurations=configurations,
        default=default or next(iter(configurations), ""),
    )


def _children(
    tree: Mapping[str, Mapping[str, bytes]], parent: str
) -> list[tuple[list[str], Mapping[str, bytes]]]:
    split = [(path.split("/"), properties) for path, properties in tree.items()]
    return [(parts, properties) for parts, properties in split if parts[1:-1] == [parent]]


def _text(properties: Mapping[str, bytes], key: str) -> str:
    """Return a property as text; the first one of a list."""
    return properties.get(key, b"").partition(b"\0")[0].decode(errors="replace")


def _data(blob: bytes, properties: Mapping[str, bytes], *, most: int) -> bytes:
    """Return the data of an image, at most `most` bytes: all images fit in the file."""
    if "data-size" not in properties:
        return properties.get("data", b"")
    size = _number(properties, "data-size")
    if "data-position" in properties:
        start = _number(properties, "data-position")
    else:
        (end,) = struct.unpack_from(">I", blob, 4)
        start = (end + 3 & ~3) + _number(properties, "data-offset")
    if start + size > len(blob):
        raise ValueError(f"its data ends at {start + size}, the file at {len(blob)}: truncated")
    if size > most:
        raise ValueError("its images are larger than the file: they overlap")
    return blob[start : start + size]


def _number(properties: Mapping[str, bytes], key: str) -> int:
    value = properties.get(key, b"")
    if len(value) > 8:
        raise ValueError(f"{key} has {len(value)} bytes, too many for a number")
    return int.from_bytes(value, "big")
