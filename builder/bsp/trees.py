# SPDX-License-Identifier: MIT
"""Work on a board's device tree that every BSP provider does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from builder.errors import UserError
from builder.formats.devicetree import DeviceTree, read_tree
from builder.qemu_devicetree.derive import Rule, derive, listed, read_rules
from builder.qemu_devicetree.machine import machine_facts, machine_file, position
from builder.spec.models import Soc

_MOST_CELLS: Final = 8
"""Bytes of an address or a size: two cells."""


def check_devices(tree: DeviceTree, soc: Soc, console: str) -> None:
    """Make sure that QEMU has the devices which an emulated boot of a tree needs.

    Raises:
        UserError: the tree has no alias of one, or QEMU not the device.
    """
    for alias, devices in machine_facts(soc).devices(console).items():
        position(tree, alias, devices)


def derive_emulated(board: Path, soc: Soc, output: Path, *, first: Sequence[Rule] = ()) -> None:
    """Write `emulated.dtb` and `changes.json`, the list of what differs from a board's tree.

    The changes are those of the family's emulated machine, after those of `first`.

    Raises:
        BuildError: a change cannot be made.
    """
    rules = [*first, *_network(read_tree(board)), *read_rules(machine_file(soc))]
    changes = derive(board, rules, output / "emulated.dtb")
    (output / "changes.json").write_text(listed(changes))


def _network(tree: DeviceTree) -> list[Rule]:
    """Return what gives an emulated board a network that has none itself.

    Its tree names a controller all the same, as `ethernet0`, and leaves that off.
    """
    node = tree.get("/aliases", {}).get("ethernet0", b"").rstrip(b"\0").decode(errors="replace")
    if tree.get(node, {}).get("status") != b"disabled\0":
        return []
    return [
        Rule(
            nodes=node,
            property="status",
            value="okay",
            because="The board has no network of its own; checks log in over QEMU's.",
        )
    ]


def memory_size(tree: DeviceTree) -> int:
    """Return the bytes of memory that a device tree's memory nodes describe.

    Raises:
        UserError: addresses or sizes have no cells, or more than there are.
    """
    address, size = (
        4 * int.from_bytes(tree["/"].get(f"#{kind}-cells", b"\1")[:4], "big")
        for kind in ("address", "size")
    )
    if not 0 < address <= _MOST_CELLS or not 0 < size <= _MOST_CELLS:
        raise UserError("the device tree's #address-cells and #size-cells are not 1 or 2")
    total = 0
    for properties in tree.values():
        if properties.get("device_type") == b"memory\0":
            reg = properties.get("reg", b"")  # U-Boot may fill it in
            for at in range(0, len(reg), address + size):
                total += int.from_bytes(reg[at + address : at + address + size], "big")
    return total
