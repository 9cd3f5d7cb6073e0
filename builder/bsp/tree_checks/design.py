# SPDX-License-Identifier: MIT
"""Check of the peripherals that a design enables against the device tree.

Linux does not use a peripheral that the first stage sets up and the tree disables, without any
error message. The same holds if a design that is loaded later has a peripheral on other pins (MIO)
than the first stage set up. The addresses of the peripherals are those of UG585 (Zynq-7000, chapter
4 and appendix B) and UG1085 (Zynq UltraScale+, chapter 10).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from builder.bsp.tree_checks.findings import Finding
from builder.bsp.tree_checks.nodes import at_address, compatible, is_on, switched_on
from builder.formats.devicetree import DeviceTree
from builder.spec.models import Soc
from builder.vivado.system import Peripheral, PeripheralKind, mio

CHECK: Final = "design"

_ADDRESSES: Final[Mapping[Soc, Mapping[PeripheralKind, Sequence[int]]]] = {
    Soc.ZYNQ: {
        PeripheralKind.UART: (0xE0000000, 0xE0001000),
        PeripheralKind.USB: (0xE0002000, 0xE0003000),
        PeripheralKind.I2C: (0xE0004000, 0xE0005000),
        PeripheralKind.SPI: (0xE0006000, 0xE0007000),
        PeripheralKind.CAN: (0xE0008000, 0xE0009000),
        PeripheralKind.GPIO: (0xE000A000,),
        PeripheralKind.ETHERNET: (0xE000B000, 0xE000C000),
        PeripheralKind.QSPI: (0xE000D000,),
        PeripheralKind.SD: (0xE0100000, 0xE0101000),
        PeripheralKind.TIMER: (0xF8001000, 0xF8002000),
        PeripheralKind.WATCHDOG: (0xF8005000,),
    },
    Soc.ZYNQMP: {
        PeripheralKind.UART: (0xFF000000, 0xFF010000),
        # The controllers; their wrappers at 0xFF9D0000 and 0xFF9E0000 are the parent nodes.
        PeripheralKind.USB: (0xFE200000, 0xFE300000),
        PeripheralKind.I2C: (0xFF020000, 0xFF030000),
        PeripheralKind.SPI: (0xFF040000, 0xFF050000),
        PeripheralKind.CAN: (0xFF060000, 0xFF070000),
        PeripheralKind.GPIO: (0xFF0A0000,),
        PeripheralKind.ETHERNET: (0xFF0B0000, 0xFF0C0000, 0xFF0D0000, 0xFF0E0000),
        PeripheralKind.QSPI: (0xFF0F0000,),
        PeripheralKind.SD: (0xFF160000, 0xFF170000),
        PeripheralKind.TIMER: (0xFF110000, 0xFF120000, 0xFF130000, 0xFF140000),
        # SWDT0 is in the low-power domain, SWDT1 in the full-power domain.
        PeripheralKind.WATCHDOG: (0xFF150000, 0xFD4D0000),
    },
}

_TRANSCEIVER: Final = "ulpi-phy"
"""`compatible` of the USB transceivers' nodes, which have the address of their USB controller."""

_CONSEQUENCES: Final[Mapping[PeripheralKind, str]] = {
    PeripheralKind.UART: "the serial port is missing",
    PeripheralKind.USB: "USB devices on this port are not detected",
    PeripheralKind.I2C: "/dev/i2c-N and the devices on this bus are missing",
    PeripheralKind.SPI: "this SPI bus and the devices on it are missing",
    PeripheralKind.CAN: "the network interface is missing",
    PeripheralKind.GPIO: "programs find no GPIO lines: pynq.GPIO raises",
    PeripheralKind.ETHERNET: "the network interface is missing",
    PeripheralKind.QSPI: "the flash memory is not detected",
    PeripheralKind.SD: "a card in this slot is not detected",
    PeripheralKind.TIMER: "Linux does not use the timer",
    PeripheralKind.WATCHDOG: "/dev/watchdog is missing",
}


@dataclass(frozen=True, kw_only=True)
class EnabledPeripherals:
    """Peripherals that must be enabled; `origin` is what enables them, for messages."""

    origin: str
    soc: Soc
    peripherals: Sequence[Peripheral]


def findings(
    tree: DeviceTree,
    overlays: Sequence[DeviceTree],
    wanted: Sequence[EnabledPeripherals],
    *,
    source: str,
) -> list[Finding]:
    """Return a finding for each wanted peripheral that a board's tree disables.

    Args:
        tree: the board's compiled tree.
        overlays: the device-tree overlays of the image. One of them may enable a peripheral whose
            pins are in the programmable logic.
        wanted: the peripherals that must be enabled.
        source: the source of the tree, for messages.
    """
    later = {node for overlay in overlays for node in switched_on(overlay, tree)}
    found: dict[tuple[PeripheralKind, int], list[str]] = {}
    details: dict[tuple[PeripheralKind, int], tuple[Peripheral, int]] = {}
    for each in wanted:
        for peripheral, address in _described(each):
            nodes = _controllers(tree, address)
            on = any(is_on(tree, node) for node in nodes)
            if on or (peripheral.in_logic and later.intersection(nodes)):
                continue
            key = (peripheral.kind, peripheral.number)
            found.setdefault(key, []).append(each.origin)
            details[key] = (peripheral, address)
    return [
        _finding(*details[key], origins=origins, tree=tree, source=source)
        for key, origins in found.items()
    ]


def pin_findings(
    tree: DeviceTree,
    start: Sequence[EnabledPeripherals],
    loaded: Sequence[EnabledPeripherals],
    *,
    source: str,
) -> list[Finding]:
    """Return a finding for each peripheral of a design whose pins are not set up.

    The first stage sets up the pins once. A design that is loaded later does not change them, even
    if it uses others; the kernel does if the tree has `pinctrl-0`.

    Args:
        tree: the board's compiled tree.
        start: the peripherals that the first stage sets up; nothing is compared if this is empty.
        loaded: the peripherals of the designs.
        source: the source of the tree, for messages.
    """
    if not start:
        return []
    set_up = {(address, each.pins) for one in start for each, address in _described(one)}
    found: dict[int, Finding] = {}
    for one in loaded:
        for each, address in _described(one):
            nodes = [node for node in _controllers(tree, address) if is_on(tree, node)]
            by_kernel = any("pinctrl-0" in tree[node] for node in nodes)
            if mio(each.pins) is None or (address, each.pins) in set_up or by_kernel or not nodes:
                continue
            found[address] = _pin_finding(each, nodes[0], one, start, source=source)
    return [*found.values()]


def _pin_finding(
    peripheral: Peripheral,
    node: str,
    wanted: EnabledPeripherals,
    start: Sequence[EnabledPeripherals],
    *,
    source: str,
) -> Finding:
    by = " and ".join(each.origin for each in start)
    return Finding(
        check=CHECK,
        subject=f"{node.rpartition('/')[2]} pins",
        text=f"{wanted.origin}: {peripheral.name} is on {peripheral.pins}, which neither the first "
        f"stage (made from {by}) nor the kernel sets up for it. On the board "
        f"{_CONSEQUENCES[peripheral.kind]}; assign these pins to {node} by `pinctrl-0` in {source}",
    )


def _controllers(tree: DeviceTree, address: int) -> list[str]:
    """Return the nodes of the peripheral at an address."""
    nodes = at_address(tree, address)
    return [node for node in nodes if _TRANSCEIVER not in compatible(tree, node)]


def _described(wanted: EnabledPeripherals) -> Iterator[tuple[Peripheral, int]]:
    """Yield the peripherals that a tree can describe, with their addresses."""
    for each in wanted.peripherals:
        addresses = _ADDRESSES[wanted.soc].get(each.kind, ())
        if each.number < len(addresses):
            yield each, addresses[each.number]


def _finding(
    peripheral: Peripheral, address: int, *, origins: Sequence[str], tree: DeviceTree, source: str
) -> Finding:
    nodes = _controllers(tree, address)
    if nodes:
        node = nodes[0].rpartition("/")[2]
        state = f"{nodes[0]} is disabled in the device tree"
        remedy = f'set status = "okay" in {source}'
    else:
        node = f"@{address:x}"
        state = f"the device tree has no node at {address:#x}"
        remedy = f"add one to {source}"
    pins = f" ({peripheral.pins})" if peripheral.pins else ""
    return Finding(
        check=CHECK,
        subject=node,
        text=f"{' and '.join(origins)}: {peripheral.name}{pins} is enabled, but {state}. On the "
        f"board {_CONSEQUENCES[peripheral.kind]}; {remedy}",
    )
