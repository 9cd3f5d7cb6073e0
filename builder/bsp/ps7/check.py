# SPDX-License-Identifier: MIT
"""Comparison of a start-up table with a board's Vivado parameters.

A table of another board of the same class often works, or nearly: a wrong feedback divider causes a
garbled console, a wrong pin multiplexer no network, a wrong DDR timing no boot, all without an
error message. `Comparison` recomputes the registers from the parameters (PCW_...) and lists the
differences. The rules and their limits are in the modules `clocks`, `mio`, `ddr` and `lanes`. Reset
lines and the console are checked here: they are sequences of writes, or need several registers.
Register fields are those of AMD's UG585, appendix B (SLCR, DDRC, UART, GPIO).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from builder.bsp.ps7 import clocks as ps7_clocks
from builder.bsp.ps7 import ddr as ps7_ddr
from builder.bsp.ps7 import mio as ps7_mio
from builder.bsp.ps7.fields import Field, Mismatch, Parameters, Registers
from builder.bsp.ps7.table import StartupTable
from builder.errors import UserError
from builder.spec.document import ProblemsError, read

_UART: Final = (0xE0000000, 0xE0001000)
_BAUD_TOLERANCE: Final = 0.02
_GPIO: Final = 0xE000A000


def read_parameters(path: Path) -> dict[str, str]:
    """Read Vivado's parameters: a mapping of PCW_ names to strings.

    Raises:
        UserError: the file is missing or is not a YAML mapping.
    """
    try:
        data = read(path).data
    except ProblemsError as error:
        details = [str(problem) for problem in error.problems]
        raise UserError(f"the parameters in {path} cannot be used", details=details) from error
    return {str(name): str(value) for name, value in data.items()}


class Comparison:
    """Comparison of start-up tables with a board's parameters, which are evaluated once.

    Raises:
        ValueError: a numeric parameter is not a number; `mismatches` raises it, too.
    """

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = known = Parameters(parameters)
        self._clocks = list(ps7_clocks.expected(known))
        self._pins = list(ps7_mio.expected(known))
        self._memory = ps7_ddr.roundings(known)

    def mismatches(self, table: StartupTable) -> list[Mismatch]:
        """Return all contradictions between a start-up table and the parameters.

        Clocks, pins, the DDR controller, reset lines and the console are compared. Missing
        parameters and those of disabled peripherals are not.
        """
        registers, parameters = Registers(table), self._parameters
        return [
            *registers.differences(self._clocks),
            *registers.differences(ps7_clocks.dependent(registers, parameters)),
            *ps7_clocks.frequencies(registers, parameters),
            *registers.differences(self._pins),
            *ps7_ddr.differences(registers, self._memory),
            *_resets(registers, parameters),
            *_console(registers, parameters),
        ]


def compare(table: StartupTable, parameters: Mapping[str, str]) -> list[Mismatch]:
    """Return all contradictions between one start-up table and a board's parameters.

    Raises:
        ValueError: a numeric parameter is not a number.
    """
    return Comparison(parameters).mismatches(table)


def located(mismatches: Iterable[Mismatch], parameters: Path) -> list[str]:
    """Return mismatches as text, with the file and line of their parameters."""
    document = read(parameters)
    return [f"{document.origin((each.parameter,))}: {each}" for each in mismatches]


def _resets(registers: Registers, parameters: Parameters) -> Iterator[Mismatch]:
    """Yield the reset lines of PHYs that are not pulsed and then released."""
    for peripheral, group in (
        ("ENET0", "ENET"),
        ("ENET1", "ENET"),
        ("USB0", "USB"),
        ("USB1", "USB"),
    ):
        name = f"PCW_{peripheral}_RESET_IO"
        switches = (f"PCW_{peripheral}_RESET_ENABLE", f"PCW_{peripheral}_PERIPHERAL_ENABLE")
        if not all(parameters.on(each) for each in switches):
            continue
        polarity = parameters.text(f"PCW_{group}_RESET_POLARITY") or "Active Low"
        wanted = [1, 0, 1] if polarity == "Active Low" else [0, 1, 0]
        for pin in parameters.pins(name):
            found = list(_levels(registers, pin))
            if found == wanted and not _driven(registers, pin):
                yield Mismatch(
                    what=f"{peripheral} reset on MIO {pin}",
                    parameter=name,
                    parameters=f"MIO {pin}, an output",
                    table="does not enable the output",
                )
            elif found != wanted:
                yield Mismatch(
                    what=f"{peripheral} reset on MIO {pin}",
                    parameter=name,
                    parameters=f"MIO {pin}, {polarity} (levels {wanted})",
                    table=f"drives it to {found}" if found else "never drives it",
                )


def _levels(registers: Registers, pin: int) -> Iterator[int]:
    """Yield the levels to which the table drives a GPIO pin.

    MASK_DATA registers hold 16 pins: the mask in the high half (0 lets a pin change), the levels in
    the low half.
    """
    bank, bit = divmod(pin, 32)
    half, bit = divmod(bit, 16)
    register = _GPIO + 8 * bank + 4 * half
    for operation in registers.operations:
        if operation.address == register and operation.kind in {"write", "maskwrite"}:
            value = operation.operands[-1]
            if not (value >> (16 + bit)) & 1:
                yield (value >> bit) & 1


def _driven(registers: Registers, pin: int) -> bool:
    """Return whether a GPIO pin is an enabled output (registers DIRM and OEN)."""
    bank, bit = divmod(pin, 32)
    fields = (
        Field(register=_GPIO + offset + 0x40 * bank, low=bit, width=1) for offset in (0x204, 0x208)
    )
    return all(registers.field(field) == 1 for field in fields)


def _console(registers: Registers, parameters: Parameters) -> Iterator[Mismatch]:
    """Yield the UARTs with a wrong speed.

    The speed is the reference clock / CD / (BDIV + 1) (UG585, chapter 19). A table does not have to
    set it, as U-Boot's own tables: then U-Boot's driver does.
    """
    for port, base in enumerate(_UART):
        name = f"PCW_UART{port}_BAUD_RATE"
        if not parameters.on(f"PCW_UART{port}_PERIPHERAL_ENABLE"):
            continue
        clock = ps7_clocks.uart_frequency(registers, parameters)
        generator = registers.field(Field(register=base + 0x18, width=16))
        divider = registers.field(Field(register=base + 0x34, width=8))
        wanted = parameters.number(name) or 115200.0
        if not clock or not generator or divider is None:
            continue
        found = 1e6 * clock / (generator * (divider + 1))
        if abs(found - wanted) > _BAUD_TOLERANCE * wanted:
            yield Mismatch(
                what=f"UART{port} speed",
                parameter=name,
                parameters=f"{wanted:.0f} baud",
                table=f"has {found:.0f} baud",
            )
