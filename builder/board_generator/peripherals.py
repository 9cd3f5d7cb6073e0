# SPDX-License-Identifier: MIT
"""Selection of a board's console, boot card and network among the peripherals of a design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builder.errors import UserError
from builder.vivado.system import Peripheral, PeripheralKind, System

UBOOT_BAUD = "115200"
"""Speed of U-Boot's console: CONFIG_BAUDRATE, which no board sets."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The peripherals that a board needs for booting: console, card and network.

    A board may have no network, or one through the programmable logic.
    """

    console: Peripheral
    card: Peripheral
    network: Peripheral | None

    @property
    def baud(self) -> str:
        """The console's speed in bits per second."""
        return self.console.details.get("baud", UBOOT_BAUD)

    @property
    def kernel_console(self) -> str:
        """The console in the form of board.yaml and the kernel's command line."""
        return f"ttyPS0,{self.baud}"


def choose(system: System, *, console: int | None = None, card: int | None = None) -> Chosen:
    """Select console, card and network among the peripherals of a design.

    Args:
        system: the processing system of the design.
        console: number of the UART; None for the first usable one.
        card: number of the SD controller; None for the most likely one.

    Raises:
        UserError: the design has no usable console or card.
    """
    consoles = [each for each in system.all_of(PeripheralKind.UART) if each.pins.startswith("MIO")]
    cards = [
        each
        for each in system.all_of(PeripheralKind.SD)
        if each.pins.startswith("MIO") and "eMMC" not in each.details.get("slot", "")
    ]
    # A slot has a card-detect switch, unlike soldered memory.
    cards.sort(key=lambda each: "card-detect" not in each.details)
    networks = [each for each in system.all_of(PeripheralKind.ETHERNET) if has_phy(each)]
    return Chosen(
        console=_pick(
            system,
            consoles,
            PeripheralKind.UART,
            number=console,
            option="console",
            why="there is no port for the console",
        ),
        card=_pick(
            system,
            cards,
            PeripheralKind.SD,
            number=card,
            option="card",
            why="there is no card to boot from",
        ),
        network=networks[0] if networks else None,
    )


def _pick(
    system: System,
    usable: Sequence[Peripheral],
    kind: PeripheralKind,
    *,
    number: int | None = None,
    option: str = "",
    why: str,
) -> Peripheral:
    found = [each for each in usable if number in (None, each.number)]
    if found:
        return found[0]
    there = [f"{each.name} ({each.pins or 'no pins'})" for each in system.all_of(kind)]
    if number is None:
        what = f"the design has no {kind.value} on the processing system's pins: {why}"
    else:
        what = f"--{option} {number}: the design has no such {kind.value} on MIO pins"
    raise UserError(
        what,
        hint=f"it has {', '.join(there)}" if there else "enable one in the block design",
    )


def has_phy(peripheral: Peripheral) -> bool:
    """Return whether an Ethernet controller has its pins and its MDIO outside of the logic."""
    mdio = peripheral.details.get("mdio", "EMIO")
    return bool(peripheral.pins) and not peripheral.in_logic and not mdio.startswith("EMIO")


def baud_warning(chosen: Chosen) -> str | None:
    """Return a warning if the console's speed is not U-Boot's; None if it is."""
    if chosen.baud == UBOOT_BAUD:
        return None
    return (
        f"the design's console has {chosen.baud} baud: kernel and login use this speed, but U-Boot "
        f"uses {UBOOT_BAUD} baud, since the builder does not configure it"
    )
