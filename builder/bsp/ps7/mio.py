# SPDX-License-Identifier: MIT
"""Check of the pins of the processing system (MIO) against Vivado's parameters.

The fields of MIO_PIN_xx (0xF8000700 + 4 x pin) are those of UG585, appendix B.28; the settings of
the multiplexer are those of chapter 2, "MIO-at-a-Glance". Not covered: NOR flash, trace, interrupt
lines, HSTL receivers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from builder.bsp.ps7.fields import Expectation, Field, Parameters

PINS: Final = range(54)
_MIO: Final = 0xF8000700
# Lowest bit and width of each field.
_BITS: Final = {
    "direction": (0, 1),
    "multiplexer": (1, 7),
    "slew rate": (8, 1),
    "voltage": (9, 3),
    "pull-up": (12, 1),
    "receiver": (13, 1),
}
_CARD_DETECT: Final = {"SD0": 0xF8000830, "SD1": 0xF8000834}
_IO_TYPES: Final = {"LVCMOS 1.8V": 1, "LVCMOS 2.5V": 2, "LVCMOS 3.3V": 3, "HSTL 1.8V": 4}
_DIRECTIONS: Final = {"in": 1, "out": 0, "inout": 0}
_LINE_DIRECTIONS: Final = {"cd": 1, "wp": 1, "reset": 0}
# Patterns of the input signals, by peripheral.
_INPUTS: Final = {
    "ENET": r"rx_clk|rx_ctl|rxd\[\d\]",
    "USB": r"clk|dir|nxt",
    "UART": r"rx",
    "SD": r"(?!)",
    "QSPI": r"(?!)",
}
_SPEEDS: Final = {"slow": 0, "fast": 1}
# Pins that select the boot mode at reset, by resistors of the board (UG585, chapter 6). Vivado
# disables their pull-ups, and some exports have no parameter for them.
_BOOT_PINS: Final = range(2, 9)
_DEFAULTS: Final = {"PULLUP": "disabled"}
_PULL_UPS: Final = {"disabled": 0, "enabled": 1}
# Electrical settings: the field, the parameter's name after PCW_MIO_xx_, the values by their names,
# and the names by their values.
_ELECTRICAL: Final = tuple(
    (what, stem, values, {number: text for text, number in values.items()})
    for what, stem, values in (
        ("slew rate", "SLEW", _SPEEDS),
        ("voltage", "IOTYPE", _IO_TYPES),
        ("pull-up", "PULLUP", _PULL_UPS),
    )
)

# Peripheral -> name in PCW_MIO_TREE_PERIPHERALS, and its possible groups of pins: the rest of the
# parameter's name, and the multiplexer's setting (bits 7:1 of MIO_PIN_xx) for these pins.
_PERIPHERALS: Final[Mapping[str, tuple[str, tuple[tuple[str, int], ...]]]] = {
    "QSPI": (
        "Quad SPI Flash",
        (("QSPI", 0x02), ("GRP_FBCLK", 0x02), ("GRP_SS1", 0x02), ("GRP_IO1", 0x02)),
    ),
    "ENET0": ("Enet 0", (("ENET0", 0x02), ("GRP_MDIO", 0x80))),
    "ENET1": ("Enet 1", (("ENET1", 0x02), ("GRP_MDIO", 0xA0))),
    "USB0": ("USB 0", (("USB0", 0x04),)),
    "USB1": ("USB 1", (("USB1", 0x04),)),
    "SD0": ("SD 0", (("SD0", 0x80), ("GRP_POW", 0x18))),
    "SD1": ("SD 1", (("SD1", 0x80), ("GRP_POW", 0x18))),
    "UART0": ("UART 0", (("UART0", 0xE0),)),
    "UART1": ("UART 1", (("UART1", 0xE0),)),
    "SPI0": ("SPI 0", (("SPI0", 0xA0),)),
    "SPI1": ("SPI 1", (("SPI1", 0xA0),)),
    "I2C0": ("I2C 0", (("I2C0", 0x40),)),
    "I2C1": ("I2C 1", (("I2C1", 0x40),)),
    "CAN0": ("CAN 0", (("CAN0", 0x20),)),
    "CAN1": ("CAN 1", (("CAN1", 0x20),)),
    "PJTAG": ("PJTAG", (("PJTAG", 0x60),)),
    "WDT": ("WDT", (("WDT", 0x60),)),
    "TTC0": ("TTC0", (("TTC0", 0xC0),)),
    "TTC1": ("TTC1", (("TTC1", 0xC0),)),
    "NAND": ("NAND Flash", (("NAND", 0x10),)),
}
# Lines that the table itself or the kernel drives as GPIO, with their peripheral. The multiplexer
# does not matter for those of SD cards: the controller selects them by pin number.
_LINES: Final = (
    ("ENET0", "RESET"),
    ("ENET1", "RESET"),
    ("USB0", "RESET"),
    ("USB1", "RESET"),
    ("I2C0", "RESET"),
    ("I2C1", "RESET"),
    ("SD0", "GRP_CD"),
    ("SD1", "GRP_CD"),
    ("SD0", "GRP_WP"),
    ("SD1", "GRP_WP"),
)
_NO_MEANINGS: Final[Mapping[int, str]] = {}
_GPIO: Final = "gpio["
_SPI_SIGNALS: Final = re.compile(r"mosi|miso|sclk|ss\[\d\]")
_NO_SIGNAL: Final = frozenset({"", "unassigned", "unbonded"})
_SIGNALS: Final = "PCW_MIO_TREE_SIGNALS"


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """Assignment of a pin to a peripheral by a parameter, with the multiplexer's setting."""

    parameter: str
    peripheral: str
    setting: int


def expected(parameters: Parameters) -> Iterator[Expectation]:
    """Yield the expected fields of the pins' registers."""
    signals = _listed(parameters, _SIGNALS)
    peripherals = _listed(parameters, "PCW_MIO_TREE_PERIPHERALS")
    lines = {
        pin: f"PCW_{peripheral}_{line}_IO"
        for peripheral, line in _LINES
        if parameters.on(f"PCW_{peripheral}_{line}_ENABLE")
        and parameters.on(f"PCW_{peripheral}_PERIPHERAL_ENABLE")
        for pin in parameters.pins(f"PCW_{peripheral}_{line}_IO")
    }
    claims = _claims(parameters)
    for pin in PINS:
        signal = signals.get(pin, "")
        gpio = signal.startswith(_GPIO)
        mine = _decided(claims.get(pin, []), signal, peripherals.get(pin, ""))
        gpio = gpio and not mine
        if pin in lines:
            yield _pin(pin, "multiplexer", lines[pin], parameters, {0}, needed=False)
        elif gpio:
            # 0 is the reset value.
            yield _pin(pin, "multiplexer", _SIGNALS, parameters, {0}, says=signal, needed=False)
        elif mine:
            settings = {claim.setting >> 1 for claim in mine}
            yield _pin(pin, "multiplexer", mine[0].parameter, parameters, settings)
        if gpio or mine or pin in lines:
            yield from _direction(pin, parameters, signal, [] if pin in lines else mine)
        used = signal.lower() not in _NO_SIGNAL if signals else bool(mine)
        yield from _electrical(pin, parameters, used=used or pin in lines)
    yield from _cards(parameters)


def _listed(parameters: Parameters, name: str) -> dict[int, str]:
    """Return the value of each pin in a parameter that lists all pins, separated by `#`.

    The result is empty if the list is truncated, as in some exports.
    """
    entries = (parameters.text(name) or "").split("#")
    return dict(enumerate(entries)) if len(entries) == len(PINS) else {}


def _claims(parameters: Parameters) -> dict[int, list[_Claim]]:
    """Return the claims of peripherals by pin; a pin can have several, as SPI may not use all."""
    claims: dict[int, list[_Claim]] = {}
    for peripheral, (_, groups) in _PERIPHERALS.items():
        for group, setting in groups:
            switch = "PERIPHERAL" if group == peripheral else group
            if parameters.on(f"PCW_{peripheral}_{switch}_ENABLE"):
                name = f"PCW_{peripheral}_{group}_IO"
                for pin in parameters.pins(name):
                    claim = _Claim(parameter=name, peripheral=peripheral, setting=setting)
                    claims.setdefault(pin, []).append(claim)
    return claims


def _decided(claims: list[_Claim], signal: str, owner: str) -> list[_Claim]:
    """Return the effective claims on a pin, according to Vivado's lists of all pins if present.

    SPI claims six pins, but those of disabled slave selects belong to other peripherals or GPIO.
    """
    if signal.lower() in _NO_SIGNAL - {""}:
        return []
    held = [
        claim
        for claim in claims
        if not claim.peripheral.startswith("SPI") or _SPI_SIGNALS.fullmatch(signal)
    ]
    owned = [claim for claim in held if _PERIPHERALS[claim.peripheral][0] == owner]
    return owned or held


def _pin(
    pin: int,
    what: str,
    name: str,
    parameters: Parameters,
    values: set[int],
    *,
    says: str | None = None,
    needed: bool = True,
    meanings: Mapping[int, str] = _NO_MEANINGS,
) -> Expectation:
    low, width = _BITS[what]
    return Expectation(
        what=f"MIO {pin} {what}",
        parameter=name,
        says=says or parameters.text(name) or "nothing",
        field=Field(register=_MIO + 4 * pin, low=low, width=width),
        values=frozenset(values),
        needed=needed,
        meanings=meanings,
    )


def _direction(
    pin: int, parameters: Parameters, signal: str, claims: list[_Claim]
) -> Iterator[Expectation]:
    """Yield the expected TRI_ENABLE (bit 0), which makes a pin an input.

    It is 0 for GPIO pins, whatever their parameter: the GPIO controller sets the direction. For a
    peripheral's pins it is 1 for inputs only. If the parameter is absent, the direction follows
    from the signal's name for the most common peripherals.
    """
    name = f"PCW_MIO_{pin}_DIRECTION"
    direction = parameters.text(name)
    if signal.startswith(_GPIO):
        yield _pin(pin, "direction", _SIGNALS, parameters, {0}, says=signal, needed=False)
    elif direction is not None and direction in _DIRECTIONS:
        yield _pin(pin, "direction", name, parameters, {_DIRECTIONS[direction]}, needed=False)
    elif signal in _LINE_DIRECTIONS:
        value = _LINE_DIRECTIONS[signal]
        yield _pin(pin, "direction", _SIGNALS, parameters, {value}, says=signal, needed=False)
    elif signal and len(claims) == 1:
        inputs = _INPUTS.get(claims[0].peripheral.rstrip("01"))
        if inputs:
            value = int(re.fullmatch(inputs, signal) is not None)
            yield _pin(pin, "direction", _SIGNALS, parameters, {value}, says=signal, needed=False)


def _electrical(pin: int, parameters: Parameters, *, used: bool) -> Iterator[Expectation]:
    """Yield the expected voltage, slew rate and pull-up. Vivado does not set up unused pins.

    DisableRcvr (bit 13) is for HSTL only, where it disables the input of an output pin; Vivado sets
    0 for all other pins.
    """
    voltage = parameters.text(f"PCW_MIO_{pin}_IOTYPE")
    for what, stem, values, meanings in _ELECTRICAL:
        name = f"PCW_MIO_{pin}_{stem}"
        value = parameters.text(name) or (_DEFAULTS.get(stem) if pin in _BOOT_PINS else None)
        if value is not None and value in values:
            wanted = {values[value]}
            yield _pin(
                pin, what, name, parameters, wanted, says=value, needed=used, meanings=meanings
            )
    if voltage is not None and voltage.startswith("LVCMOS"):
        name = f"PCW_MIO_{pin}_IOTYPE"
        yield _pin(pin, "receiver", name, parameters, {0}, needed=False)


def _cards(parameters: Parameters) -> Iterator[Expectation]:
    """Yield the expected card-detect and write-protect pins: SDx_WP_CD_SEL, UG585 appendix B.28."""
    for card, register in _CARD_DETECT.items():
        for group, what, low in (("CD", "card detect", 16), ("WP", "write protect", 0)):
            name = f"PCW_{card}_GRP_{group}_IO"
            switches = (f"PCW_{card}_GRP_{group}_ENABLE", f"PCW_{card}_PERIPHERAL_ENABLE")
            if all(parameters.on(each) for each in switches):
                for pin in parameters.pins(name):
                    yield Expectation(
                        what=f"{card} {what}",
                        parameter=name,
                        says=f"MIO {pin}",
                        field=Field(register=register, low=low, width=6),
                        values=frozenset({pin}),
                    )
