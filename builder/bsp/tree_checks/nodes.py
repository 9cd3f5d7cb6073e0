# SPDX-License-Identifier: MIT
"""Queries of a compiled device tree that several checks share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from builder.formats.devicetree import DeviceTree, is_enabled


def strings(value: bytes) -> list[str]:
    """Return the strings of a property."""
    return [each.decode(errors="replace") for each in value.split(b"\0") if each]


def cells(value: bytes) -> list[int]:
    """Return the 32-bit cells of a property."""
    return [int.from_bytes(value[at : at + 4], "big") for at in range(0, len(value), 4)]


def is_on(tree: DeviceTree, node: str) -> bool:
    """Return whether Linux makes a device for a node: neither it nor its parents are disabled."""
    while node and node != "/":
        if not is_enabled(tree.get(node, {})):
            return False
        node = node.rpartition("/")[0]
    return True


def at_address(tree: DeviceTree, address: int) -> list[str]:
    """Return the nodes with a unit address (the number after the @ in their names)."""
    return [node for node in tree if unit_address(node) == address]


def unit_address(node: str) -> int | None:
    """Return the unit address of a node; None if its name has none."""
    found = re.search(r"@([0-9a-f]+)$", node)
    return int(found[1], 16) if found else None


def labels(tree: DeviceTree) -> Mapping[str, str]:
    """Return the nodes by their labels; empty if the tree was compiled without symbols."""
    symbols = tree.get("/__symbols__", {})
    return {label: path.rstrip(b"\0").decode(errors="replace") for label, path in symbols.items()}


def compatible(tree: DeviceTree, node: str) -> list[str]:
    """Return the `compatible` strings of a node, the most specific first."""
    return strings(tree.get(node, {}).get("compatible", b""))


def switched_on(overlay: DeviceTree, tree: DeviceTree) -> Iterator[str]:
    """Yield the nodes of a tree that a device-tree overlay enables.

    The overlay may name its targets by path or by label; labels are looked up in the tree's
    symbols.
    """
    known = labels(tree)
    targets: dict[str, str] = {}
    for label, places in overlay.get("/__fixups__", {}).items():
        for place in strings(places):
            fragment, _, rest = place.partition(":")
            if rest.startswith("target:") and label in known:
                targets[fragment] = known[label]
    for node, properties in overlay.items():
        if "target-path" in properties:
            targets[node] = properties["target-path"].rstrip(b"\0").decode(errors="replace")
    for fragment, target in targets.items():
        content = overlay.get(f"{fragment}/__overlay__", {})
        if "status" in content and is_enabled(content):
            yield target
