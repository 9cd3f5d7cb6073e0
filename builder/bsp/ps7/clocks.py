# SPDX-License-Identifier: MIT
"""Check of the PLLs and clocks of the processing system against Vivado's parameters.

`clock_registers` has the registers. Vivado has a frequency and a divider for every peripheral, 10
MHz and 1 for disabled ones: only enabled peripherals are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from builder.bsp.ps7.clock_registers import (
    BUS_CLOCK_GATES,
    BUS_CLOCKS,
    CPU_DIVIDER,
    CPU_RATIO,
    CPU_RATIOS,
    CPU_SOURCE,
    CPU_SOURCES,
    DCI_DIVIDERS,
    DCI_ON,
    DDR_2X_DIVIDER,
    DDR_DIVIDER,
    DDR_ON,
    EMIO_SOURCES,
    ETHERNET_RECEIVE_CLOCKS,
    LOCK_FIELDS,
    LOCK_SETTINGS,
    PERIPHERAL_CLOCKS,
    PERIPHERAL_SOURCES,
    PLLS,
    Clock,
)
from builder.bsp.ps7.fields import Expectation, Field, Mismatch, Parameters, Registers

_BYPASS: Final = "PCW_PLL_BYPASSMODE_ENABLE"
_DDR: Final = "PCW_UIPARAM_DDR_ENABLE"
_CRYSTAL: Final = 33.333333
"""In MHz; Vivado's default."""

# Relative. Vivado rounds frequencies to six digits, and the crystal's differently in each version.
_TOLERANCE: Final = 1e-3


def expected(parameters: Parameters) -> Iterator[Expectation]:
    """Yield the expected fields of the registers of PLLs and clocks."""
    for name, pll in PLLS.items():
        if name == "DDR PLL" and parameters.off(_DDR):
            continue
        yield from _number(f"{name} feedback divider", pll.parameter, parameters, pll.feedback)
        if parameters.off(_BYPASS):
            for what, bit in (("reset", 0), ("bypass", 4)):
                field = Field(register=pll.control, low=bit, width=1)
                last = _expectation(f"{name} {what}", _BYPASS, parameters, field, {0})
                yield replace(last, final=True)
    yield from _cpu(parameters)
    if not parameters.off(_DDR):
        yield from _ddr(parameters)
    for clock in PERIPHERAL_CLOCKS:
        if clock.on(parameters):
            yield from _clock(clock, parameters)
    for port in (0, 1):
        yield from _receive_clock(port, parameters)
    for name, bit in BUS_CLOCK_GATES.items():
        switch = f"PCW_{name}_PERIPHERAL_ENABLE"
        if parameters.on(switch):
            gate = Field(register=BUS_CLOCKS, low=bit, width=1)
            yield _expectation(f"{name} bus clock", switch, parameters, gate, {1})


def dependent(registers: Registers, parameters: Parameters) -> Iterator[Expectation]:
    """Yield the expected fields that follow from a divider of the parameters, or else of the table.

    A PLL's lock settings depend on its feedback divider; DDR_2x runs at two thirds of DDR_3x
    (UG585, table 25-6, and chapter 25 on the DDR clocks).
    """
    for name, pll in PLLS.items():
        divider, says = _divider(pll.parameter, pll.feedback, registers, parameters)
        settings = next((row[1:] for row in LOCK_SETTINGS if divider and divider <= row[0]), None)
        if settings is None:
            continue
        for (what, low, width), wanted in zip(LOCK_FIELDS, settings, strict=True):
            yield Expectation(
                what=f"{name} {what}",
                parameter=pll.parameter,
                says=says,
                field=Field(register=pll.configuration, low=low, width=width),
                values=frozenset({wanted}),
            )
    name = "PCW_DDR_PERIPHERAL_DIVISOR0"
    divider, says = _divider(name, DDR_DIVIDER, registers, parameters)
    if divider and not parameters.off(_DDR):
        yield Expectation(
            what="DDR_2x divider",
            parameter=name,
            says=says,
            field=DDR_2X_DIVIDER,
            values=frozenset({divider * 3 // 2}),
        )


def _divider(
    name: str, field: Field, registers: Registers, parameters: Parameters
) -> tuple[int | None, str]:
    """Return a divider, and the parameter's value or the divider's origin, for messages."""
    divider = parameters.integer(name)
    if divider:
        return divider, str(divider)
    own = registers.field(field)
    return own, f"nothing, the table's own divider is {own}"


def frequencies(registers: Registers, parameters: Parameters) -> Iterator[Mismatch]:
    """Yield the clocks whose frequency differs from that in the parameters.

    A frequency is that of the crystal x the PLL's feedback divider / the dividers of the clock
    (UG585, chapter 25). Clocks of bypassed PLLs and clocks through EMIO are not compared.
    """
    if parameters.on(_BYPASS):
        return
    crystal = crystal_frequency(parameters)
    source = registers.field(CPU_SOURCE)
    pll = next((name for name, values in CPU_SOURCES.items() if source in values), "ARM PLL")
    found = divided(registers, crystal, pll, [CPU_DIVIDER])
    yield from _frequency("CPU clock", "PCW_ACT_APU_PERIPHERAL_FREQMHZ", parameters, found)
    if not parameters.off(_DDR):
        found = divided(registers, crystal, "DDR PLL", [DDR_DIVIDER])
        yield from _frequency("DDR clock", "PCW_UIPARAM_ACT_DDR_FREQ_MHZ", parameters, found)
        found = divided(registers, crystal, "DDR PLL", DCI_DIVIDERS)
        if has_termination(parameters):
            yield from _frequency("DCI clock", "PCW_ACT_DCI_PERIPHERAL_FREQMHZ", parameters, found)
    for clock in PERIPHERAL_CLOCKS:
        source = registers.field(clock.source)
        if clock.on(parameters) and source not in EMIO_SOURCES:
            pll = next(
                (name for name, values in PERIPHERAL_SOURCES.items() if source in values), "IO PLL"
            )
            found = divided(registers, crystal, pll, clock.dividers)
            parameter = f"PCW_ACT_{clock.actual}_PERIPHERAL_FREQMHZ"
            yield from _frequency(f"{clock.actual} clock", parameter, parameters, found)


def crystal_frequency(parameters: Parameters) -> float:
    """Return the frequency of the crystal in MHz."""
    return parameters.number("PCW_CRYSTAL_PERIPHERAL_FREQMHZ") or _CRYSTAL


def divided(
    registers: Registers, crystal: float, pll: str, dividers: Sequence[Field]
) -> float | None:
    """Return a clock in MHz: crystal x the PLL's feedback divider / all dividers."""
    feedback = registers.field(PLLS[pll].feedback)
    if feedback is None:
        return None
    frequency = crystal * feedback
    for field in dividers:
        divider = registers.field(field)
        if not divider:
            return None
        frequency /= divider
    return frequency


@dataclass(frozen=True, kw_only=True)
class CpuDividers:
    """Feedback divider and divider of the CPU clock: CPU_6x4x = crystal x feedback / divider.

    ratio: CPU_6x4x to CPU_1x, 6 or 4.
    """

    feedback: int
    divider: int
    ratio: int


def cpu_dividers(registers: Registers) -> CpuDividers | None:
    """Return the dividers of the CPU clock; None if the table does not set all of them."""
    source, divider = registers.field(CPU_SOURCE), registers.field(CPU_DIVIDER)
    ratio = registers.field(CPU_RATIO)
    pll = next((name for name, values in CPU_SOURCES.items() if source in values), None)
    feedback = registers.field(PLLS[pll].feedback) if pll else None
    if not feedback or not divider or ratio is None:
        return None
    return CpuDividers(feedback=feedback, divider=divider, ratio=6 if ratio else 4)


def uart_frequency(registers: Registers, parameters: Parameters) -> float | None:
    """Return the UARTs' reference clock in MHz; None if the table does not set it."""
    clock = next(each for each in PERIPHERAL_CLOCKS if each.name == "UART")
    source = registers.field(clock.source)
    pll = next((name for name, values in PERIPHERAL_SOURCES.items() if source in values), "IO PLL")
    return divided(registers, crystal_frequency(parameters), pll, clock.dividers)


def _cpu(parameters: Parameters) -> Iterator[Expectation]:
    yield from _number("CPU divider", "PCW_CPU_PERIPHERAL_DIVISOR0", parameters, CPU_DIVIDER)
    yield from _choice(
        "CPU clock source", "PCW_CPU_PERIPHERAL_CLKSRC", parameters, CPU_SOURCE, CPU_SOURCES
    )
    ratios = {name: frozenset({value}) for name, value in CPU_RATIOS.items()}
    yield from _choice("CPU ratio", "PCW_APU_CLK_RATIO_ENABLE", parameters, CPU_RATIO, ratios)


def _ddr(parameters: Parameters) -> Iterator[Expectation]:
    """Yield the expected clocks of the memory and of its termination (DCI)."""
    name = "PCW_DDR_PERIPHERAL_DIVISOR0"
    yield from _number("DDR_3x divider", name, parameters, DDR_DIVIDER)
    if parameters.on(_DDR):
        yield _expectation("DDR clocks", _DDR, parameters, DDR_ON, {3})
    if has_termination(parameters):
        for number, field in enumerate(DCI_DIVIDERS):
            name = f"PCW_DCI_PERIPHERAL_DIVISOR{number}"
            yield from _number(f"DCI divider {number}", name, parameters, field)
        if parameters.on(_DDR):
            yield _expectation("DCI clock gate", _DDR, parameters, DCI_ON, {1})


def has_termination(parameters: Parameters) -> bool:
    """Return whether the memory has digitally controlled termination; LPDDR2 does not."""
    return (parameters.text("PCW_UIPARAM_DDR_MEMORY_TYPE") or "DDR 3").startswith("DDR")


def _clock(clock: Clock, parameters: Parameters) -> Iterator[Expectation]:
    for number, field in enumerate(clock.dividers):
        name = f"PCW_{clock.name}_PERIPHERAL_DIVISOR{number}"
        yield from _number(f"{clock.actual} divider {number}", name, parameters, field)
    sources = dict(PERIPHERAL_SOURCES)
    if clock.emio:
        sources["External"] = EMIO_SOURCES
        if _through_emio(clock.name, parameters):
            sources = {name: values | EMIO_SOURCES for name, values in sources.items()}
    name = f"PCW_{clock.name}_PERIPHERAL_CLKSRC"
    yield from _choice(f"{clock.actual} clock source", name, parameters, clock.source, sources)
    for bit, switch in clock.gates:
        if parameters.on(switch):
            gate = Field(register=clock.register, low=bit, width=1)
            yield _expectation(f"{clock.actual} clock gate", switch, parameters, gate, {1})


def _through_emio(name: str, parameters: Parameters) -> bool:
    return parameters.text(f"PCW_{name}_{name}_IO") == "EMIO"


def _receive_clock(port: int, parameters: Parameters) -> Iterator[Expectation]:
    """Yield the expected receive clock of an Ethernet controller: from MIO pins or through EMIO."""
    name = f"ENET{port}"
    pins = f"PCW_{name}_{name}_IO"
    if not parameters.on(f"PCW_{name}_PERIPHERAL_ENABLE") or parameters.text(pins) is None:
        return
    register = ETHERNET_RECEIVE_CLOCKS[port]
    gate, source = (Field(register=register, low=low, width=1) for low in (0, 4))
    emio = int(_through_emio(name, parameters))
    yield _expectation(f"{name} receive clock gate", pins, parameters, gate, {1})
    yield _expectation(f"{name} receive clock source", pins, parameters, source, {emio})


def _number(what: str, name: str, parameters: Parameters, field: Field) -> Iterator[Expectation]:
    """Yield the expectation that a field has a parameter's number, if the parameter has one."""
    value = parameters.integer(name)
    if value:
        yield _expectation(what, name, parameters, field, {value})


def _choice(
    what: str,
    name: str,
    parameters: Parameters,
    field: Field,
    choices: Mapping[str, frozenset[int]],
) -> Iterator[Expectation]:
    """Yield the expectation that a field has the value of a parameter's text, if it is known."""
    text = parameters.text(name)
    if text is not None and text in choices:
        meanings = {value: choice for choice, values in choices.items() for value in values}
        found = _expectation(what, name, parameters, field, choices[text])
        yield replace(found, meanings=meanings)


def _expectation(
    what: str, name: str, parameters: Parameters, field: Field, values: Iterable[int]
) -> Expectation:
    says = parameters.text(name) or "nothing"
    return Expectation(what=what, parameter=name, says=says, field=field, values=frozenset(values))


def _frequency(
    what: str, name: str, parameters: Parameters, found: float | None
) -> Iterator[Mismatch]:
    wanted = parameters.number(name)
    if not wanted:
        return
    if found is None or abs(found - wanted) > _TOLERANCE * wanted:
        yield Mismatch(
            what=what,
            parameter=name,
            parameters=f"{wanted:.3f} MHz",
            table="does not set it" if found is None else f"has {found:.3f} MHz",
        )
