# SPDX-License-Identifier: MIT
"""Whether a start-up table fits a board's Vivado parameters.

A table of another board of the same class often works, or nearly: a wrong feedback divider gives a
garbled console, a wrong pin multiplexer no network, a wrong DDR width no boot at all, and none of
them a message. `compare` recomputes what the parameters (PCW_...) promise from the registers that
the table writes, and lists what does not agree. Register fields are those of AMD's UG585, appendix
B (SLCR, DDRC, UART, GPIO). What it does not cover: DDR timing and training values, which depend on
the memory part and on trace lengths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builder.bsp.ps7 import Operation, StartupTable
from builder.errors import UserError
from builder.spec.document import ProblemsError, read

_PLLS: Final = {"ARM PLL": 0xF8000100, "DDR PLL": 0xF8000104, "IO PLL": 0xF8000108}
_CPU_CLOCK, _DDR_CLOCK, _CPU_RATIO = 0xF8000120, 0xF8000124, 0xF80001C4
_PERIPHERAL_CLOCK_GATES = 0xF800012C
_DDR_CONTROL = 0xF8006000
_SD0_CARD_DETECT = 0xF8000830
_MIO = 0xF8000700
_UART_BAUD, _UART_DIVIDER = 0xE0000018, 0xE0000034

# Peripheral -> its clock control register and whether it has a second divider. The parameter with
# the frequency that Vivado promises is PCW_ACT_<peripheral>_PERIPHERAL_FREQMHZ.
_CLOCKS: Final = {
    "DCI": (0xF8000128, True),
    "ENET0": (0xF8000140, True),
    "ENET1": (0xF8000144, True),
    "QSPI": (0xF800014C, False),
    "SDIO": (0xF8000150, False),
    "UART": (0xF8000154, False),
    "PCAP": (0xF8000168, False),
    "FPGA0": (0xF8000170, True),
    "FPGA1": (0xF8000180, True),
    "FPGA2": (0xF8000190, True),
    "FPGA3": (0xF80001A0, True),
}
# Peripheral -> bit of its bus clock in APER_CLK_CTRL. Without it every access hangs.
_GATES: Final = {
    "USB0": 2,
    "USB1": 3,
    "ENET0": 6,
    "ENET1": 7,
    "SD0": 10,
    "SD1": 11,
    "UART0": 20,
    "UART1": 21,
    "QSPI": 23,
}
# Parameter that names pins, the parameter that switches it on, and the multiplexer's setting (bits
# 7:1 of MIO_PIN_xx) that leads these pins to the peripheral.
_PINS: Final = (
    ("PCW_QSPI_QSPI_IO", "PCW_QSPI_PERIPHERAL_ENABLE", 0x02),
    ("PCW_QSPI_GRP_FBCLK_IO", "PCW_QSPI_GRP_FBCLK_ENABLE", 0x02),
    ("PCW_ENET0_ENET0_IO", "PCW_ENET0_PERIPHERAL_ENABLE", 0x02),
    ("PCW_ENET0_GRP_MDIO_IO", "PCW_ENET0_GRP_MDIO_ENABLE", 0x80),
    ("PCW_ENET1_ENET1_IO", "PCW_ENET1_PERIPHERAL_ENABLE", 0x02),
    ("PCW_USB0_USB0_IO", "PCW_USB0_PERIPHERAL_ENABLE", 0x04),
    ("PCW_USB1_USB1_IO", "PCW_USB1_PERIPHERAL_ENABLE", 0x04),
    ("PCW_SD0_SD0_IO", "PCW_SD0_PERIPHERAL_ENABLE", 0x80),
    ("PCW_SD1_SD1_IO", "PCW_SD1_PERIPHERAL_ENABLE", 0x80),
    ("PCW_UART0_UART0_IO", "PCW_UART0_PERIPHERAL_ENABLE", 0xE0),
    ("PCW_UART1_UART1_IO", "PCW_UART1_PERIPHERAL_ENABLE", 0xE0),
    # GPIO: the lines that the table itself or the kernel drives.
    ("PCW_ENET0_RESET_IO", "PCW_ENET0_RESET_ENABLE", 0x00),
    ("PCW_USB0_RESET_IO", "PCW_USB0_RESET_ENABLE", 0x00),
    ("PCW_SD0_GRP_CD_IO", "PCW_SD0_GRP_CD_ENABLE", 0x00),
)
_IO_TYPES: Final = {"LVCMOS 1.8V": 1, "LVCMOS 2.5V": 2, "LVCMOS 3.3V": 3, "HSTL 1.8V": 4}
_DDR_WIDTHS: Final = {0: "32 Bit", 1: "16 Bit"}
_CPU_RATIOS: Final = {0: "4:2:1", 1: "6:2:1"}
# A thousandth: Vivado rounds its figures to six digits.
_TOLERANCE: Final = 1e-3
_BAUD_TOLERANCE: Final = 0.02
_ON: Final = "1"


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """Something in which a table does not do what the parameters say."""

    what: str
    parameters: str
    table: str

    def __str__(self) -> str:
        return f"{self.what}: the parameters say {self.parameters}, the table {self.table}"


def read_parameters(path: Path) -> dict[str, str]:
    """Read Vivado's parameters: a mapping of PCW_ names to strings.

    Raises:
        UserError: the file is missing, is not YAML, or maps to something else.
    """
    try:
        data = read(path).data
    except ProblemsError as error:
        details = [str(problem) for problem in error.problems]
        raise UserError(f"the parameters {path} cannot be used", details=details) from error
    return {str(name): str(value) for name, value in data.items()}


def compare(table: StartupTable, parameters: Mapping[str, str]) -> list[Mismatch]:
    """List everything in which a start-up table contradicts a board's parameters.

    Parameters that are not there are not compared. An empty list says that clocks, pins, DDR width
    and reset lines agree.
    """
    checker = _Checker(table, parameters)
    return [
        *checker.cpu(),
        *checker.ddr(),
        *checker.clocks(),
        *checker.pins(),
        *checker.resets(),
        *checker.console(),
    ]


class _Checker:
    def __init__(self, table: StartupTable, parameters: Mapping[str, str]) -> None:
        self._operations: list[Operation] = list(table.operations())
        self._registers = table.registers()
        self._parameters = parameters
        self._crystal = float(parameters.get("PCW_CRYSTAL_PERIPHERAL_FREQMHZ", "33.333333"))

    def cpu(self) -> Iterator[Mismatch]:
        source = self._field(_CPU_CLOCK, 4, 2)
        pll = {2: "DDR PLL", 3: "IO PLL"}.get(source or 0, "ARM PLL")
        found = self._divided(pll, self._field(_CPU_CLOCK, 8, 6))
        yield from self._frequency("CPU clock", "PCW_ACT_APU_PERIPHERAL_FREQMHZ", found)
        ratio = self._field(_CPU_RATIO, 0, 1)
        yield from self._same("CPU ratio", "PCW_APU_CLK_RATIO_ENABLE", ratio, _CPU_RATIOS)

    def ddr(self) -> Iterator[Mismatch]:
        found = self._divided("DDR PLL", self._field(_DDR_CLOCK, 20, 6))
        yield from self._frequency("DDR clock", "PCW_UIPARAM_ACT_DDR_FREQ_MHZ", found)
        width = self._field(_DDR_CONTROL, 2, 2)
        yield from self._same("DDR width", "PCW_UIPARAM_DDR_BUS_WIDTH", width, _DDR_WIDTHS)

    def clocks(self) -> Iterator[Mismatch]:
        for name, (register, second) in _CLOCKS.items():
            if name in {"ENET0", "ENET1", "QSPI"} and not self._on(f"PCW_{name}_PERIPHERAL_ENABLE"):
                continue
            if name == "DCI":
                pll = "DDR PLL"
            else:
                source = self._field(register, 4, 2)
                pll = {2: "ARM PLL", 3: "DDR PLL"}.get(source or 0, "IO PLL")
            dividers = [self._field(register, 8, 6)]
            if second:
                dividers.append(self._field(register, 20, 6))
            found = self._divided(pll, *dividers)
            yield from self._frequency(f"{name} clock", f"PCW_ACT_{name}_PERIPHERAL_FREQMHZ", found)
        for name, bit in _GATES.items():
            gate = self._field(_PERIPHERAL_CLOCK_GATES, bit, 1)
            if self._on(f"PCW_{name}_PERIPHERAL_ENABLE") and gate != 1:
                yield Mismatch(what=f"{name} bus clock", parameters="on", table="off")

    def pins(self) -> Iterator[Mismatch]:
        for name, switch, wanted in _PINS:
            if not self._on(switch):
                continue
            for pin in _pins(self._parameters.get(name, "")):
                found = self._masked(_MIO + 4 * pin, 0xFE)
                # Card detect and the like are found by number; their multiplexer may be left alone.
                if found != wanted and not (found is None and wanted == 0):
                    yield Mismatch(
                        what=f"MIO {pin} ({name})",
                        parameters=f"multiplexer {wanted:#04x}",
                        table="not set" if found is None else f"multiplexer {found:#04x}",
                    )
        for pin in range(54):
            io_type = self._field(_MIO + 4 * pin, 9, 3)
            name = f"PCW_MIO_{pin}_IOTYPE"
            types = {number: text for text, number in _IO_TYPES.items()}
            yield from self._same(f"MIO {pin} voltage", name, io_type, types)
        if self._on("PCW_SD0_GRP_CD_ENABLE"):
            for pin in _pins(self._parameters.get("PCW_SD0_GRP_CD_IO", "")):
                found = self._field(_SD0_CARD_DETECT, 16, 6)
                if found != pin:
                    yield Mismatch(
                        what="SD0 card detect", parameters=f"MIO {pin}", table=f"MIO {found}"
                    )

    def resets(self) -> Iterator[Mismatch]:
        """Check that each reset line of a PHY is pulsed and then released."""
        for peripheral, group in (("ENET0", "ENET"), ("USB0", "USB")):
            if not self._on(f"PCW_{peripheral}_RESET_ENABLE"):
                continue
            low = self._parameters.get(f"PCW_{group}_RESET_POLARITY", "Active Low") == "Active Low"
            wanted = [1, 0, 1] if low else [0, 1, 0]
            for pin in _pins(self._parameters.get(f"PCW_{peripheral}_RESET_IO", "")):
                found = list(self._levels(pin))
                if found != wanted:
                    yield Mismatch(
                        what=f"{peripheral} reset on MIO {pin}",
                        parameters=f"levels {wanted}",
                        table=f"levels {found}" if found else "never driven",
                    )

    def console(self) -> Iterator[Mismatch]:
        for port in (0, 1):
            if not self._on(f"PCW_UART{port}_PERIPHERAL_ENABLE"):
                continue
            base = 0x1000 * port
            divided = self._divided("IO PLL", self._field(_CLOCKS["UART"][0], 8, 6))
            baud = self._field(_UART_BAUD + base, 0, 16)
            divider = self._field(_UART_DIVIDER + base, 0, 8)
            wanted = float(self._parameters.get(f"PCW_UART{port}_BAUD_RATE", "115200"))
            found = 0.0
            if divided and baud and divider is not None:
                found = 1e6 * divided / (baud * (divider + 1))
            # A table may leave the speed to U-Boot's driver, as U-Boot's own tables do.
            if found and abs(found - wanted) > _BAUD_TOLERANCE * wanted:
                yield Mismatch(
                    what=f"UART{port} speed",
                    parameters=f"{wanted:.0f} baud",
                    table=f"{found:.0f} baud",
                )

    def _on(self, parameter: str) -> bool:
        return self._parameters.get(parameter) == _ON

    def _masked(self, register: int, mask: int) -> int | None:
        """Return bits of a register's final value, or None if the table leaves one of them."""
        value, known = self._registers.get(register, (0, 0))
        return value & mask if known & mask == mask else None

    def _field(self, register: int, low: int, width: int) -> int | None:
        mask = ((1 << width) - 1) << low
        value = self._masked(register, mask)
        return None if value is None else value >> low

    def _divided(self, pll: str, *dividers: int | None) -> float | None:
        """Return a clock in MHz: crystal x the PLL's feedback divider / all dividers."""
        frequency: float | None = self._crystal
        feedback = self._field(_PLLS[pll], 12, 7)
        if feedback is None or frequency is None:
            return None
        frequency *= feedback
        for divider in dividers:
            if not divider:
                return None
            frequency /= divider
        return frequency

    def _frequency(self, what: str, parameter: str, found: float | None) -> Iterator[Mismatch]:
        if parameter not in self._parameters:
            return
        wanted = float(self._parameters[parameter])
        if found is None or abs(found - wanted) > _TOLERANCE * wanted:
            shown = "not set" if found is None else f"{found:.3f} MHz"
            yield Mismatch(what=what, parameters=f"{wanted:.3f} MHz", table=shown)

    def _same(
        self, what: str, parameter: str, found: int | None, names: Mapping[int, str]
    ) -> Iterator[Mismatch]:
        wanted = self._parameters.get(parameter)
        shown = "not set" if found is None else names.get(found, str(found))
        if wanted is not None and wanted != shown:
            yield Mismatch(what=what, parameters=wanted, table=shown)

    def _levels(self, pin: int) -> Iterator[int]:
        """Yield the levels that the table drives a GPIO pin to.

        MASK_DATA registers hold 16 pins: the mask in the high half (0 lets a pin change), the
        levels in the low one.
        """
        bank, bit = divmod(pin, 32)
        half, bit = divmod(bit, 16)
        register = 0xE000A000 + 8 * bank + 4 * half
        for operation in self._operations:
            if operation.address == register and operation.kind in {"write", "maskwrite"}:
                value = operation.operands[-1]
                if not (value >> (16 + bit)) & 1:
                    yield (value >> bit) & 1


def _pins(text: str) -> list[int]:
    """Return the pins of Vivado's "MIO 9" or "MIO 16 .. 27"; EMIO and others have none."""
    found = re.fullmatch(r"MIO (\d+)(?: \.\. (\d+))?", text)
    if found is None:
        return []
    first = int(found[1])
    return list(range(first, int(found[2] or first) + 1))
