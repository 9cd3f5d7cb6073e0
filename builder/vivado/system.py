# SPDX-License-Identifier: MIT
"""The processing system of a design, in a common form for both families.

Vivado stores it as parameters of one block: PCW_... for Zynq-7000 (PG082), PSU__... for Zynq
UltraScale+ (PG201).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from builder.errors import UserError
from builder.spec.models import Soc
from builder.vivado.design import Design

UNSET: Final = "<Select>"
"""Vivado's text for a parameter without a value."""

_ON = "1"
_UPPER_MEMORY = 0x8_0000_0000
_LOWER_MEMORY = 1 << 31


class PeripheralKind(str, Enum):
    """The kinds of peripherals of a processing system."""

    UART = "UART"
    SD = "SD"
    ETHERNET = "Ethernet"
    USB = "USB"
    I2C = "I2C"
    SPI = "SPI"
    QSPI = "QSPI"
    CAN = "CAN"
    GPIO = "GPIO"
    TIMER = "timer"
    WATCHDOG = "watchdog"
    NAND = "NAND"
    NOR = "NOR"
    SATA = "SATA"
    PCIE = "PCI Express"
    DISPLAY = "DisplayPort"


@dataclass(frozen=True, kw_only=True)
class Peripheral:
    """An enabled peripheral.

    Attributes:
        kind: kind of the peripheral.
        number: index among the peripherals of its kind.
        pins: its connection, in Vivado's terms: `MIO 16 .. 27`, `EMIO` (the programmable logic),
            `GT Lane1` (a serial transceiver); empty if it has no pins.
        details: further values of Vivado, by short names: `mdio`, `reset`, `card-detect`,
            `write-protect`, `slot`, `width`, `baud`, `mode`, `feedback`, `usb3`, `reference`,
            `reference-mhz`.
    """

    kind: PeripheralKind
    number: int
    pins: str
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Display name: `UART 0`. Kinds with a single peripheral, like QSPI, have no number."""
        single = {
            PeripheralKind.QSPI,
            PeripheralKind.GPIO,
            PeripheralKind.NAND,
            PeripheralKind.NOR,
            PeripheralKind.SATA,
            PeripheralKind.PCIE,
            PeripheralKind.DISPLAY,
        }
        return self.kind.value if self.kind in single else f"{self.kind.value} {self.number}"

    @property
    def in_logic(self) -> bool:
        """Whether its pins exist only while the programmable logic is loaded."""
        return self.pins.startswith("EMIO")


@dataclass(frozen=True, kw_only=True)
class System:
    """A processing system.

    Attributes:
        soc: the SoC family.
        memory: address and size of each part of the DDR memory, in bytes.
        ecc: whether the memory has ECC.
        crystal: frequency of the reference clock in MHz; 0 if unknown.
        processor: frequency of the processor in MHz; 0 if unknown.
        peripherals: the enabled peripherals.
        parameters: all of Vivado's parameters, unchanged.
    """

    soc: Soc
    memory: tuple[tuple[int, int], ...]
    ecc: bool
    crystal: float
    processor: float
    peripherals: tuple[Peripheral, ...]
    parameters: Mapping[str, str]

    def all_of(self, kind: PeripheralKind) -> list[Peripheral]:
        """Return the peripherals of a kind."""
        return [each for each in self.peripherals if each.kind is kind]

    @property
    def memory_size(self) -> int:
        """Total size of the DDR memory in bytes."""
        return sum(size for _, size in self.memory)


@dataclass(frozen=True, kw_only=True)
class _Names:
    """Patterns for the names of a family's parameters, with the name of a block as `{0}`."""

    enable: str
    pins: str
    details: Mapping[str, str]
    blocks: Mapping[PeripheralKind, Sequence[str]]
    crystal: str
    processor: str
    ecc: str


_ZYNQ = _Names(
    enable="PCW_{0}_PERIPHERAL_ENABLE",
    pins="PCW_{0}_{0}_IO",
    details={
        "mdio": "PCW_{0}_GRP_MDIO_IO",
        "reset": "PCW_{0}_RESET_IO",
        "card-detect": "PCW_{0}_GRP_CD_IO",
        "write-protect": "PCW_{0}_GRP_WP_IO",
        "baud": "PCW_{0}_BAUD_RATE",
        "feedback": "PCW_{0}_GRP_FBCLK_IO",
        "second": "PCW_{0}_GRP_IO1_IO",
    },
    blocks={
        PeripheralKind.UART: ("UART0", "UART1"),
        PeripheralKind.SD: ("SD0", "SD1"),
        PeripheralKind.ETHERNET: ("ENET0", "ENET1"),
        PeripheralKind.USB: ("USB0", "USB1"),
        PeripheralKind.I2C: ("I2C0", "I2C1"),
        PeripheralKind.SPI: ("SPI0", "SPI1"),
        PeripheralKind.QSPI: ("QSPI",),
        PeripheralKind.CAN: ("CAN0", "CAN1"),
        PeripheralKind.TIMER: ("TTC0", "TTC1"),
        PeripheralKind.WATCHDOG: ("WDT",),
        PeripheralKind.NAND: ("NAND",),
        PeripheralKind.NOR: ("NOR",),
    },
    crystal="PCW_CRYSTAL_PERIPHERAL_FREQMHZ",
    processor="PCW_ACT_APU_PERIPHERAL_FREQMHZ",
    ecc="PCW_UIPARAM_DDR_ECC",
)
_ZYNQMP = _Names(
    enable="PSU__{0}__PERIPHERAL__ENABLE",
    pins="PSU__{0}__PERIPHERAL__IO",
    details={
        "mdio": "PSU__{0}__GRP_MDIO__IO",
        "reset": "PSU__{0}__RESET__IO",
        "card-detect": "PSU__{0}__GRP_CD__IO",
        "write-protect": "PSU__{0}__GRP_WP__IO",
        "slot": "PSU__{0}__SLOT_TYPE",
        "width": "PSU__{0}__DATA_TRANSFER_MODE",
        "baud": "PSU__{0}__BAUD_RATE",
        "mode": "PSU__{0}__PERIPHERAL__MODE",
        "feedback": "PSU__{0}__GRP_FBCLK__IO",
        "reference": "PSU__{0}__REF_CLK_SEL",
        "reference-mhz": "PSU__{0}__REF_CLK_FREQ",
    },
    blocks={
        PeripheralKind.UART: ("UART0", "UART1"),
        PeripheralKind.SD: ("SD0", "SD1"),
        PeripheralKind.ETHERNET: ("ENET0", "ENET1", "ENET2", "ENET3"),
        PeripheralKind.USB: ("USB0", "USB1"),
        PeripheralKind.I2C: ("I2C0", "I2C1"),
        PeripheralKind.SPI: ("SPI0", "SPI1"),
        PeripheralKind.QSPI: ("QSPI",),
        PeripheralKind.CAN: ("CAN0", "CAN1"),
        PeripheralKind.TIMER: ("TTC0", "TTC1", "TTC2", "TTC3"),
        PeripheralKind.WATCHDOG: ("SWDT0", "SWDT1"),
        PeripheralKind.NAND: ("NAND",),
        PeripheralKind.SATA: ("SATA",),
        PeripheralKind.PCIE: ("PCIE",),
        PeripheralKind.DISPLAY: ("DISPLAYPORT",),
    },
    crystal="PSU__PSS_REF_CLK__FREQMHZ",
    processor="PSU__CRF_APB__ACPU_CTRL__ACT_FREQMHZ",
    ecc="PSU__DDRC__ECC",
)
_FAMILIES: Final = {Soc.ZYNQ: _ZYNQ, Soc.ZYNQMP: _ZYNQMP}


def read_system(design: Design) -> System:
    """Return the processing system of a design.

    Raises:
    UserError: a required parameter is missing, or is not a number.
    """
    names = _FAMILIES[design.soc]
    parameters = design.system.parameters
    memory = {Soc.ZYNQ: _zynq_memory, Soc.ZYNQMP: _zynqmp_memory}[design.soc]
    return System(
        soc=design.soc,
        memory=memory(design),
        ecc=parameters.get(names.ecc, "").startswith("Enabled"),
        crystal=_megahertz(parameters, names.crystal),
        processor=_megahertz(parameters, names.processor),
        peripherals=peripherals(design.soc, parameters),
        parameters=parameters,
    )


def peripherals(soc: Soc, parameters: Mapping[str, str]) -> tuple[Peripheral, ...]:
    """Return the peripherals that Vivado's parameters of a processing system enable."""
    return (*_peripherals(_FAMILIES[soc], parameters), *_gpio(soc, parameters))


def _peripherals(names: _Names, parameters: Mapping[str, str]) -> Iterator[Peripheral]:
    for kind, blocks in names.blocks.items():
        for number, block in enumerate(blocks):
            if parameters.get(names.enable.format(block)) != _ON:
                continue
            pins = _word(parameters, names.pins.format(block))
            words = {
                key: _word(parameters, pattern.format(block))
                for key, pattern in names.details.items()
                if _applies(parameters, pattern.format(block))
            }
            # USB 3 has its own parameters: PSU__USB3_0__..., for a lane of the transceiver.
            usb3 = f"PSU__USB3_{number}__PERIPHERAL__"
            if kind is PeripheralKind.USB and parameters.get(f"{usb3}ENABLE") == _ON:
                words["usb3"] = _word(parameters, f"{usb3}IO")
            yield Peripheral(
                kind=kind,
                number=number,
                pins=pins,
                details={key: word for key, word in words.items() if word},
            )


def _gpio(soc: Soc, parameters: Mapping[str, str]) -> Iterator[Peripheral]:
    switches = {
        Soc.ZYNQ: ("PCW_GPIO_MIO_GPIO_ENABLE", "PCW_GPIO_EMIO_GPIO_ENABLE"),
        Soc.ZYNQMP: (
            *(f"PSU__GPIO{bank}_MIO__PERIPHERAL__ENABLE" for bank in range(3)),
            "PSU__GPIO_EMIO__PERIPHERAL__ENABLE",
        ),
    }[soc]
    on = [name for name in switches if parameters.get(name) == _ON]
    if on:
        # The controller exists without the logic; only some of its lines do not.
        only_logic = all("EMIO" in name for name in on)
        pins = "MIO" if not only_logic else ""
        yield Peripheral(kind=PeripheralKind.GPIO, number=0, pins=pins)


def _applies(parameters: Mapping[str, str], name: str) -> bool:
    """Return whether a group of pins is enabled; groups without a switch always are."""
    switch = re.sub(r"IO$", "ENABLE", name)
    return switch == name or parameters.get(switch) == _ON


def _word(parameters: Mapping[str, str], name: str) -> str:
    text = parameters.get(name, "").strip()
    return "" if text in {"", UNSET, "NA"} else text


def _megahertz(parameters: Mapping[str, str], name: str) -> float:
    text = parameters.get(name, "").strip()
    try:
        return float(text) if text else 0.0
    except ValueError as error:
        raise UserError(f"{name} is {text!r}, which is not a frequency in MHz") from error


def _zynq_memory(design: Design) -> tuple[tuple[int, int], ...]:
    # The first MiB is not in the range, since not all masters see it, but it is memory, too.
    return ((0, _end(design, "PCW_DDR_RAM_HIGHADDR")),)


def _zynqmp_memory(design: Design) -> tuple[tuple[int, int], ...]:
    """Return the two windows of the DDR controller: up to 2 GB, and from 32 GB on (UG1085)."""
    size = _end(design, "PSU_DDR_RAM_HIGHADDR")
    lower = min(size, _LOWER_MEMORY)
    upper = size - lower
    return ((0, lower), *(((_UPPER_MEMORY, upper),) if upper else ()))


def _end(design: Design, name: str) -> int:
    """Return the first address after the memory."""
    last = design.system.number(name)
    if last <= 0 or (last + 1) % (1 << 20):
        raise UserError(
            f"the design has no valid size of the memory: {name} is "
            f"{design.system.parameters.get(name, 'missing')!r}",
            hint="enable the DDR controller and select the memory in the block design",
        )
    return last + 1


def mio(pins: str) -> int | None:
    """Return the first pin of Vivado's `MIO 9` or `MIO 16 .. 27`; None for others."""
    found = re.match(r"MIO (\d+)\b", pins)
    return int(found[1]) if found else None
