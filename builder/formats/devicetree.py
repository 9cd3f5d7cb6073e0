# SPDX-License-Identifier: MIT
"""Reader of flattened device trees (Devicetree Specification, chapter 5).

It is deliberately independent of libfdt: it checks the output of `fdtput`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from builder.errors import StepError
from builder.untrusted.reading import UnreadableError, plain_file

DeviceTree: TypeAlias = dict[str, dict[str, bytes]]
"""Properties by the path of their node, in the file's order."""

_MAGIC = 0xD00DFEED

_BEGIN_NODE, _END_NODE, _PROPERTY, _NOP, _END = 1, 2, 3, 4, 9

MOST_BYTES = 256 << 20
"""Maximum size in bytes of a device tree or a FIT."""
_MAX_NODES = 50_000
_MAX_NAMES = 16 << 20
_MAX_PROPERTIES = 500_000
_MAX_DEPTH = 64

_LONGEST_NAME = 1024
"""Linux has FDT_MAX_DEPTH 64; trees of SoCs have some 2,000 nodes, and names of 31 characters."""


def is_enabled(properties: Mapping[str, bytes]) -> bool:
    """Return whether a node is enabled: its `status` is missing, "okay" or "ok"."""
    return properties.get("status", b"okay\0") in {b"okay\0", b"ok\0"}


def read_tree(dtb: Path) -> DeviceTree:
    """Read all nodes and properties of a flattened device tree (Devicetree Specification, 5).

    Raises:
    StepError: the file is not a device tree, or is damaged.
    """
    try:
        return parse_tree(plain_file(dtb, most=MOST_BYTES))
    except UnreadableError as error:
        raise StepError(f"{dtb} is not a device tree: it {error.reason}") from error
    except ValueError as error:
        raise StepError(f"{dtb} is not a device tree: {error}") from error


def parse_tree(blob: bytes) -> DeviceTree:
    """Return all nodes and properties of a flattened device tree.

    Raises:
    ValueError: it is not a device tree, is damaged, or exceeds a limit.
    """
    tree: DeviceTree = {}
    size = 0
    try:
        for node, properties in _nodes(blob):
            size += len(node)
            if len(tree) >= _MAX_NODES or size > _MAX_NAMES:
                raise ValueError(f"it has more than {_MAX_NODES} nodes, or its names are too long")
            tree[node] = properties
    except (struct.error, IndexError) as error:
        raise ValueError(str(error)) from error
    if "/" not in tree:
        raise ValueError("it has no root node")
    return tree


def _nodes(blob: bytes) -> Iterator[tuple[str, dict[str, bytes]]]:
    magic, size, at, strings = struct.unpack_from(">4I", blob)
    if magic != _MAGIC or size > len(blob):
        raise ValueError("wrong magic number, or truncated")
    path: list[str] = []
    properties: list[dict[str, bytes]] = []
    count = 0
    while True:
        (token,) = struct.unpack_from(">I", blob, at)
        at += 4
        if token == _BEGIN_NODE:
            end = blob.index(b"\0", at, at + _LONGEST_NAME)
            path.append(blob[at:end].decode())
            if len(path) > _MAX_DEPTH:
                raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
            properties.append({})
            # Yield a node when it begins, to preserve the file's order; its properties come before
            # its children and fill the same dict.
            yield "/".join(path) or "/", properties[-1]
            at = _aligned(end + 1)
        elif token == _END_NODE:
            path.pop()
            properties.pop()
        elif token == _PROPERTY:
            length, name_at = struct.unpack_from(">2I", blob, at)
            name_at += strings
            count += 1
            if count > _MAX_PROPERTIES:
                raise ValueError(f"it has more than {_MAX_PROPERTIES} properties")
            name = blob[name_at : blob.index(b"\0", name_at, name_at + _LONGEST_NAME)].decode()
            properties[-1][name] = blob[at + 8 : at + 8 + length]
            at = _aligned(at + 8 + length)
        elif token == _END and not path:
            return
        elif token != _NOP:
            raise ValueError(f"unexpected token {token} at {at - 4}")


def reservations(dtb: Path) -> list[tuple[int, int]]:
    """Return the memory reservations of a tree, as (address, size) in bytes."""
    blob = plain_file(dtb, most=MOST_BYTES)
    found: list[tuple[int, int]] = []
    try:
        (at,) = struct.unpack_from(">I", blob, 16)
        while (entry := struct.unpack_from(">2Q", blob, at)) != (0, 0):
            found.append(entry)
            at += 16
    except struct.error as error:
        raise StepError(f"{dtb} is not a device tree: its reservations have no end") from error
    return found


def _aligned(offset: int) -> int:
    return (offset + 3) & ~3


def show(value: bytes | None) -> str:
    """Return a property's value as text: a string, 32-bit cells or bytes; `none` for None."""
    if value is None:
        return "none"
    text = value.rstrip(b"\0")
    if text and value.endswith(b"\0") and all(32 <= byte < 127 for byte in text):
        return f'"{text.decode()}"'
    if value and len(value) % 4 == 0:
        return "<" + " ".join(map(str, struct.unpack(f">{len(value) // 4}I", value))) + ">"
    return f"[{value.hex(' ')}]"
