# SPDX-License-Identifier: MIT
"""Facts about a new board that exports lack, for a check against the schematic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from builder.board_generator.families import PORTING
from builder.board_generator.peripherals import Chosen
from builder.spec.models import Soc
from builder.vivado.system import Peripheral, PeripheralKind, System, mio


@dataclass(frozen=True, kw_only=True)
class Check:
    """A fact to check: its name, the generated value, and the place to change it."""

    what: str
    now: str
    place: str


def checks(system: System, chosen: Chosen, *, like: str | None) -> list[Check]:
    """Return the facts to check, the most urgent first."""
    found = [*_urgent(system, chosen)]
    for each in system.peripherals:
        if not each.in_logic:
            found += _peripheral(system, each)
    found += _outside(system)
    if like:
        found.insert(
            0,
            Check(
                what=f"everything copied from {like}",
                now="PHY, flash, regulators, LEDs of that board",
                place="the file that the device tree includes: does your board have the same?",
            ),
        )
    return found


def _urgent(system: System, chosen: Chosen) -> Iterator[Check]:
    yield Check(
        what="console: which UART has the connector that you use",
        now=f"{chosen.console.name}, {chosen.console.pins}",
        place="`build.py new-board --console N`; the alias `serial0`, and `console` in board.yaml",
    )
    if len(system.all_of(PeripheralKind.SD)) > 1:
        yield Check(
            what="card: which SD controller has the slot",
            now=f"{chosen.card.name}, {chosen.card.pins}",
            place="`build.py new-board --card N`; the alias `mmc0`",
        )
    yield Check(
        what="memory: size and part",
        now=f"{system.memory_size >> 20} MiB, from the settings of the DDR controller",
        place="the node `memory@0`, and `memory` in board.yaml",
    )
    if system.soc is Soc.ZYNQ:
        crystal = f"{system.crystal:g} MHz" if system.crystal else "33.3 MHz (not in the export)"
        yield Check(what="crystal of PS_CLK", now=crystal, place="`ps-clk-frequency` of `&clkc`")
    else:
        yield Check(
            what="firmware of the platform management unit",
            now="none: no board boots from the card without it",
            place="`firmware/pmufw.elf`; see *A Zynq UltraScale+ board* in docs/porting.md",
        )


def _peripheral(system: System, each: Peripheral) -> Iterator[Check]:
    label = PORTING[system.soc].label(each)
    if each.kind is PeripheralKind.ETHERNET and "mdio" in each.details:
        yield from _ethernet(each, label)
    if each.kind is PeripheralKind.SD:
        detect = _switch(each, "card-detect", without="broken-cd")
        protect = _switch(each, "write-protect", without="disable-wp")
        yield Check(
            what=f"{each.name}: card detect, write protect, and their polarity; supply",
            now=f"card detect {detect}, write protect {protect}",
            place=f"`cd-inverted`, `wp-inverted`, `vmmc-supply`, `vqmmc-supply` of `&{label}`",
        )
    if each.kind is PeripheralKind.USB:
        by_phy = system.soc is Soc.ZYNQ
        vbus = "the PHY switches VBUS" if by_phy else "VBUS is not switched"
        yield Check(
            what=f"{each.name}: host or device; reset of the PHY; VBUS",
            now=f"host; reset {each.details.get('reset', 'none')}; {vbus}",
            place="`dr_mode`, `reset-gpios`, `drv-vbus`, a regulator with `gpio`",
        )
        if "usb3" in each.details:
            yield Check(
                what="reference clocks of the serial transceivers: source and start",
                now=f"{each.details.get('reference')}, {each.details.get('reference-mhz')} MHz, "
                "always on",
                place="the nodes `gt-clockN`; replace them if a clock chip on I2C is the source",
            )
    if each.kind is PeripheralKind.QSPI:
        yield Check(
            what="QSPI: part, speed, width",
            now="any part (`jedec,spi-nor`), read by four lines",
            place="`flash@0`",
        )
    if each.kind in (PeripheralKind.I2C, PeripheralKind.SPI):
        yield Check(
            what=f"{each.name}: connected devices",
            now="none are described",
            place=f"nodes below `&{label}`",
        )
    if each.kind is PeripheralKind.CAN:
        yield Check(
            what=f"{each.name}: standby line of the transceiver",
            now="none",
            place=f"`phys` or a GPIO hog; `&{label}`",
        )


def _ethernet(each: Peripheral, label: str | None) -> Iterator[Check]:
    yield Check(
        what=f"{each.name}: address of the PHY",
        now="Linux and U-Boot probe all addresses, and use the first PHY",
        place=f"`phy-handle` of `&{label}`, a node `ethernet-phy@N` with `reg`. The first boot "
        "shows it: `dmesg`, `ethtool eth0`",
    )
    reset = each.details.get("reset")
    yield Check(
        what=f"{each.name}: reset of the PHY",
        now=f"{reset}, by the first stage" if reset else "none",
        place="`reset-gpios`, `reset-assert-us`, `reset-deassert-us` of the PHY's node: see "
        "the PHY's data sheet for the times; the latter may be 80 ms (RTL8211F)",
    )
    yield Check(
        what=f"{each.name}: delays between MAC and PHY, MAC address",
        now="`rgmii-id`: the PHY delays both clocks; an address derived from the card's ID",
        place=f"`phy-mode` of `&{label}`; *The MAC address* in docs/porting.md",
    )


def _switch(slot: Peripheral, name: str, *, without: str) -> str:
    """Return the pin of a card slot's switch, or the device tree's property without one."""
    pin = slot.details.get(name, "none")
    return pin if mio(pin) is not None else f"{pin}: `{without}`"


def _outside(system: System) -> Iterator[Check]:
    gpio = PORTING[system.soc].gpio
    yield Check(
        what="LEDs and buttons on MIO pins",
        now="none",
        place=f"nodes `gpio-leds` and `gpio-keys`, with lines of `&{gpio}`",
    )
    yield Check(
        what="regulators and resets that software must switch",
        now="none: all supplies are assumed to be on",
        place="nodes `regulator-fixed`; `gpio-hog` for lines with a constant state",
    )
    yield Check(
        what="names of the board",
        now="its name, and only the SoC as `compatible`",
        place='`model` and `compatible` ("vendor,board" before the SoC), `summary` in board.yaml',
    )
