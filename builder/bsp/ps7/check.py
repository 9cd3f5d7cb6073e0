# SPDX-License-Identifier: MIT
"""Whether a start-up table fits a board's Vivado parameters.

A table of another board of the same class often works, or nearly: a wrong feedback divider gives a
garbled console, a wrong pin multiplexer no network, a wrong DDR timing no boot, and none of them a
message. `Comparison` recomputes the registers from the parameters (PCW_...), and lists in what a
table differs. The rules, and what they leave out, are in `ps7_clocks`, `ps7_mio`, `ps7_ddr` and
`ps7_lanes`. Reset lines and the console are here: they are sequences of writes, or need several
registers. Register fields are those of AMD's UG585, appendix B (SLCR, DDRC, UART, GPIO).
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
        UserError: the file is missing, is not YAML, or maps to something else.
    """
    try:
        data = read(path).data
    except ProblemsError as error:
        details = [str(problem) for problem in error.problems]
        raise UserError(f"the parameters {path} cannot be used", details=details) from error
    return {str(name): str(value) for name, value in data.items()}


class Comparison:
    """Comparison of start-up tables with a board's parameters, which are evaluated once.

    Raises:
        ValueError: a parameter that has to be a number is none; so does `mismatches`.
    """

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = known = Parameters(parameters)
        self._clocks = list(ps7_clocks.expected(known))
        self._pins = list(ps7_mio.expected(known))
        self._memory = ps7_ddr.roundings(known)

    def mismatches(self, table: StartupTable) -> list[Mismatch]:
        """List everything in which a start-up table contradicts the parameters.

        Parameters that are not there, or whose thing is switched off, are not compared. An empty
        list says that all that is covered agrees: clocks, pins, the DDR controller, reset lines,
        console.
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
    """List everything in which one start-up table contradicts a board's parameters.

    Raises:
        ValueError: a parameter that has to be a number is none.
    """
    return Comparison(parameters).mismatches(table)


def located(mismatches: Iterable[Mismatch], parameters: Path) -> list[str]:
    """Return mismatches as text, with file and line of the parameter that each is about."""
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
                    table="does not switch the output on",
                )
            elif found != wanted:
                yield Mismatch(
                    what=f"{peripheral} reset on MIO {pin}",
                    parameter=name,
                    parameters=f"MIO {pin}, {polarity} (levels {wanted})",
                    table=f"drives it to {found}" if found else "never drives it",
                )


def _levels(registers: Registers, pin: int) -> Iterator[int]:
    """Yield the levels that the table drives a GPIO pin to.

    MASK_DATA registers hold 16 pins: the mask in the high half (0 lets a pin change), the levels in
    the low one.
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
    """Return whether a GPIO pin is an output that is switched on (registers DIRM and OEN)."""
    bank, bit = divmod(pin, 32)
    fields = (
        Field(register=_GPIO + offset + 0x40 * bank, low=bit, width=1) for offset in (0x204, 0x208)
    )
    return all(registers.field(field) == 1 for field in fields)


def _console(registers: Registers, parameters: Parameters) -> Iterator[Mismatch]:
    """Yield the UARTs with a wrong speed.

    It is the reference clock / CD / (BDIV + 1) (UG585, chapter 19). A table may leave it to
    U-Boot's driver, as U-Boot's own tables do.
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
