# SPDX-License-Identifier: MIT
"""Comparison of a board's device tree with Linux's tree for the same board.

Linux's tree was tested on the board, and this one may not have been: each difference needs a
reason. Trees are for the same board if both have the same first `compatible`.
"""

from __future__ import annotations

import fnmatch
import struct
from collections.abc import Iterator, Mapping
from typing import Final

from builder.bsp.tree_checks.findings import Finding
from builder.bsp.tree_checks.nodes import compatible
from builder.formats.devicetree import DeviceTree, show
from builder.qemu_devicetree.derive import differences

CHECK: Final = "linux"

_REFERENCES: Final[Mapping[str, str]] = {
    "*-gpios": "#gpio-cells",
    "gpios": "#gpio-cells",
    "clocks": "#clock-cells",
    "assigned-clocks": "#clock-cells",
    "assigned-clock-parents": "#clock-cells",
    "dmas": "#dma-cells",
    "interrupts-extended": "#interrupt-cells",
    "io-channels": "#io-channel-cells",
    "iommus": "#iommu-cells",
    "mboxes": "#mbox-cells",
    "phys": "#phy-cells",
    "power-domains": "#power-domain-cells",
    "resets": "#reset-cells",
    "thermal-sensors": "#thermal-sensor-cells",
    "*-supply": "",
    "pinctrl-[0-9]": "",
    **dict.fromkeys(
        (
            *("cpu", "fpga-mgr", "interrupt-affinity", "interrupt-parent", "memory-region"),
            *("next-level-cache", "nvmem-cells", "phy-handle", "remote-endpoint", "syscon"),
            "usb-phy",
        ),
        "",
    ),
}
"""Properties that refer to nodes, and the nodes' property with the number of cells that follow."""

_IGNORED = {"/__symbols__"}


def same_board(tree: DeviceTree, others: Mapping[str, DeviceTree]) -> str | None:
    """Return the name of the tree for the same board among `others`; None if there is none.

    Device-tree overlays, which Linux has for some boards, are skipped.
    """
    first = compatible(tree, "/")[:1]
    return next(
        (
            name
            for name, each in others.items()
            if compatible(each, "/")[:1] == first and "/fragment@0" not in each
        ),
        None,
    )


def findings(own: DeviceTree, theirs: DeviceTree, *, name: str, source: str) -> list[Finding]:
    """Return the differences between a board's tree and Linux's tree `name` for the same board.

    A node that only one of them has is one difference, including its children.
    """
    before, after = _comparable(theirs), _comparable(own)
    found = []
    for root, there in _alone(before, after):
        missing_in = "Linux's tree" if there is after else "the board's tree"
        found.append(
            _finding(root, f"{missing_in} has no node {root}", name=name, source=source),
        )
    alone = {root for root, _ in _alone(before, after)}
    for change in differences(before, after):
        if not any(_below(change.node, root) for root in alone):
            values = f"{show(change.after)}, and {show(change.before)} in Linux's tree"
            what = f"{change.property} of {change.node} is {values}"
            subject = f"{change.node} {change.property}"
            found.append(_finding(subject, what, name=name, source=source))
    return found


def _finding(subject: str, what: str, *, name: str, source: str) -> Finding:
    return Finding(
        check=CHECK,
        subject=subject,
        text=f"the tree differs from Linux's tree of this board, {name}: {what}. Linux's tree was "
        f"tested on the board; correct {source}, or accept the difference with its reason",
    )


def _alone(before: DeviceTree, after: DeviceTree) -> Iterator[tuple[str, DeviceTree]]:
    """Yield the topmost nodes that only one of two trees has, with this tree."""
    for one, other in ((before, after), (after, before)):
        for node in one:
            parent = node.rpartition("/")[0] or "/"
            if node not in other and parent in other:
                yield node, one


def _below(node: str, root: str) -> bool:
    return node == root or node.startswith(f"{root}/")


def _comparable(tree: DeviceTree) -> DeviceTree:
    """Return a tree in which references to nodes are paths instead of phandles."""
    handles = {each["phandle"]: node for node, each in tree.items() if "phandle" in each}
    return {
        node: {
            name: _named(name, value, tree, handles)
            for name, value in properties.items()
            if name not in {"phandle", "linux,phandle"}
        }
        for node, properties in tree.items()
        if node not in _IGNORED
    }


def _named(name: str, value: bytes, tree: DeviceTree, handles: Mapping[bytes, str]) -> bytes:
    """Return a property's value, with paths if it refers to nodes."""
    count = next(
        (cells for pattern, cells in _REFERENCES.items() if fnmatch.fnmatchcase(name, pattern)),
        None,
    )
    if count is None or len(value) % 4:
        return value
    words = [value[at : at + 4] for at in range(0, len(value), 4)]
    parts: list[str] = []
    while words:
        node = handles.get(words.pop(0))
        if node is None:
            return value  # the property does not refer to a node
        cells = struct.unpack(">I", tree[node].get(count, b"\0\0\0\0")[:4])[0] if count else 0
        parts.append(
            " ".join([node, *(str(int.from_bytes(each, "big")) for each in words[:cells])])
        )
        words = words[cells:]
    return ", ".join(parts).encode() + b"\0"
