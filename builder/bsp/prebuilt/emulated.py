# SPDX-License-Identifier: MIT
"""The device tree for an emulated boot, derived from the tree of supplied boot files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from builder.bsp.prebuilt.inspection import BoardRequirements, bootargs
from builder.bsp.trees import check_devices, derive_emulated
from builder.formats.devicetree import DeviceTree, is_enabled, read_tree
from builder.qemu_devicetree.derive import Rule
from builder.qemu_devicetree.machine import machine_facts

_NO_U_BOOT = "An emulated boot skips U-Boot, which may pass other arguments to the kernel"


def derive_from(board: Path, wanted: BoardRequirements, output: Path) -> None:
    """Write `emulated.dtb` and `changes.json` like `derive_emulated`, with missing nodes added.

    Raises:
        BuildError: QEMU cannot emulate this board.
    """
    tree = read_tree(board)
    derive_emulated(
        board, wanted.soc, output, first=[*_aliases(tree, wanted), *_root(tree, wanted)]
    )
    check_devices(read_tree(output / "emulated.dtb"), wanted.soc, wanted.console)


def _aliases(tree: DeviceTree, wanted: BoardRequirements) -> Iterator[Rule]:
    """Yield rules for the aliases by which an emulated boot finds the board's devices.

    Without aliases the kernel numbers devices in the order in which their drivers start.
    """
    for alias, devices in machine_facts(wanted.soc).devices(wanted.console).items():
        if alias in tree.get("/aliases", {}):
            continue
        addresses = {name.partition("@")[2] for name in devices}
        found = [
            node
            for node, properties in tree.items()
            if node.partition("@")[2] in addresses and is_enabled(properties)
        ]
        number = int("".join(filter(str.isdigit, alias)))
        if number < len(found):
            yield Rule(
                nodes="/aliases",
                property=alias,
                value=found[number],
                create=True,
                because="The devices of QEMU's options are found by aliases; this tree lacks one.",
            )


def _root(tree: DeviceTree, wanted: BoardRequirements) -> Iterator[Rule]:
    """Yield a rule that sets console and root filesystem of this card in the kernel's arguments."""
    present = bootargs(tree).split()
    words = [word for word in present if not word.startswith("root=")]
    terminal = wanted.console.partition(",")[0]
    if not any(word.partition(",")[0] == f"console={terminal}" for word in words):
        words.append(f"console={wanted.console}")
    words.append(f"root={wanted.root_device}")
    words += [word for word in ("rw", "rootwait") if word not in words]
    if {*words} != {*present}:
        yield Rule(
            nodes="/chosen",
            property="bootargs",
            value=" ".join(words),
            create=True,
            because=f"{_NO_U_BOOT}; the root filesystem is on the card.",
        )
