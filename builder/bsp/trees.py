# SPDX-License-Identifier: MIT
"""Operations on a board's device tree that all BSP providers share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from builder.errors import UserError
from builder.formats.devicetree import DeviceTree, read_tree
from builder.qemu_devicetree.derive import Rule, changes_to_json, derive, read_rules
from builder.qemu_devicetree.machine import machine_facts, machine_file, position
from builder.spec.models import Soc

_MOST_CELLS: Final = 8
"""Maximum bytes of an address or a size: two cells."""


def check_devices(tree: DeviceTree, soc: Soc, console: str) -> None:
    """Make sure that QEMU has the devices that an emulated boot of a tree needs.

    Raises:
        UserError: the tree has no alias for a device, or QEMU does not have the device.
    """
    for alias, devices in machine_facts(soc).devices(console).items():
        position(tree, alias, devices)


def derive_emulated(board: Path, soc: Soc, output: Path, *, first: Sequence[Rule] = ()) -> None:
    """Write `emulated.dtb` and `changes.json`, the list of its differences from a board's tree.

    The changes of `first` are applied before those of the family's emulated machine.

    Raises:
        BuildError: a change cannot be applied.
    """
    rules = [*first, *_network(read_tree(board)), *read_rules(machine_file(soc))]
    changes = derive(board, rules, output / "emulated.dtb")
    (output / "changes.json").write_text(changes_to_json(changes))


def _network(tree: DeviceTree) -> list[Rule]:
    """Return the rules that enable a network controller on a board without a network.

    The tree of such a board has a disabled controller as `ethernet0`.
    """
    node = tree.get("/aliases", {}).get("ethernet0", b"").rstrip(b"\0").decode(errors="replace")
    if tree.get(node, {}).get("status") != b"disabled\0":
        return []
    return [
        Rule(
            nodes=node,
            property="status",
            value="okay",
            because="The board has no network of its own; the checks log in over QEMU's.",
        )
    ]


def memory_size(tree: DeviceTree) -> int:
    """Return the bytes of memory that a device tree's memory nodes describe.

    Raises:
        UserError: #address-cells or #size-cells are not 1 or 2.
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
            reg = properties.get("reg", b"")  # without `reg`, U-Boot fills it in
            for at in range(0, len(reg), address + size):
                total += int.from_bytes(reg[at + address : at + address + size], "big")
    return total
