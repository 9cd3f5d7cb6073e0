# SPDX-License-Identifier: MIT
"""Clocks of the processing system: what Vivado's parameters say about PLLs and dividers.

Registers and fields are those of UG585, appendix B.28 (SLCR), and chapter 25, "Clocks". Vivado has
a frequency for every peripheral, 10 MHz for those that are switched off, and a divider, 1 for them:
only what is switched on is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from builder.bsp.ps7.fields import Expectation, Field, Mismatch, Parameters, Registers

_BYPASS: Final = "PCW_PLL_BYPASSMODE_ENABLE"
_DDR: Final = "PCW_UIPARAM_DDR_ENABLE"
_CRYSTAL: Final = 33.333333
"""In MHz; Vivado's default."""

_CPU_SOURCE: Final = Field(register=0xF8000120, low=4, width=2)
_CPU_DIVIDER: Final = Field(register=0xF8000120, low=8, width=6)
_CPU_RATIO: Final = Field(register=0xF80001C4, low=0, width=1)
_RATIOS: Final = {"4:2:1": 0, "6:2:1": 1}
_DDR_ON: Final = Field(register=0xF8000124, low=0, width=2)
_DDR_DIVIDER: Final = Field(register=0xF8000124, low=20, width=6)
_DDR_2X_DIVIDER: Final = Field(register=0xF8000124, low=26, width=6)
_DCI_ON: Final = Field(register=0xF8000128, low=0, width=1)
_DCI_DIVIDERS: Final = (
    Field(register=0xF8000128, low=8, width=6),
    Field(register=0xF8000128, low=20, width=6),
)
_RECEIVE_CLOCKS: Final = (0xF8000138, 0xF800013C)
_BUS_CLOCKS: Final = 0xF800012C
# Clock sources in the SRCSEL fields: of the CPU, and of peripherals; of both, values with the same
# meaning.
_CPU_SOURCES: Final = {
    "ARM PLL": frozenset({0, 1}),
    "DDR PLL": frozenset({2}),
    "IO PLL": frozenset({3}),
}
_SOURCES: Final = {
    "IO PLL": frozenset({0, 1}),
    "ARM PLL": frozenset({2}),
    "DDR PLL": frozenset({3}),
}
# In the three bits of GEMx_CLK_CTRL: with the topmost one, the clock comes through EMIO.
_EMIO_SOURCES: Final = frozenset({4, 5, 6, 7})
# A thousandth: Vivado rounds its figures to six digits, and its versions the crystal's differently.
_TOLERANCE: Final = 1e-3

# Last feedback divider of a range, then PLL_CP, PLL_RES and LOCK_CNT for it: UG585, table 25-6. The
# smallest divider is 13.
_LOCK_FIELDS: Final = (("PLL_CP", 8, 4), ("PLL_RES", 4, 4), ("LOCK_CNT", 12, 10))
_LOCKING: Final = (
    (13, 2, 6, 750),
    (14, 2, 6, 700),
    (15, 2, 6, 650),
    (16, 2, 10, 625),
    (17, 2, 10, 575),
    (18, 2, 10, 550),
    (19, 2, 10, 525),
    (20, 2, 12, 500),
    (21, 2, 12, 475),
    (22, 2, 12, 450),
    (23, 2, 12, 425),
    (25, 2, 12, 400),
    (26, 2, 12, 375),
    (28, 2, 12, 350),
    (30, 2, 12, 325),
    (33, 2, 2, 300),
    (36, 2, 2, 275),
    (40, 2, 2, 250),
    (47, 3, 12, 250),
    (66, 2, 4, 250),
)


@dataclass(frozen=True, kw_only=True)
class _Pll:
    """A PLL: its control and configuration registers, and the parameter with its divider."""

    control: int
    configuration: int
    parameter: str

    @property
    def feedback(self) -> Field:
        return Field(register=self.control, low=12, width=7)


@dataclass(frozen=True, kw_only=True)
class _Clock:
    """A clock control register.

    name: as in PCW_<name>_PERIPHERAL_CLKSRC and ..._DIVISOR0. actual: as in
    PCW_ACT_<actual>_PERIPHERAL_FREQMHZ. switches: parameters that switch the clock on: none of them
    may say no, and one of them or of the gates' must say yes. gates: bits of the register that let the clock through,
    and the parameters that say so. second: whether there is a second divider. emio: whether the
    clock can come from the logic through EMIO.
    """

    name: str
    actual: str
    register: int
    switches: tuple[str, ...] = ()
    gates: tuple[tuple[int, str], ...] = ()
    second: bool = False
    emio: bool = False

    @property
    def source(self) -> Field:
        return Field(register=self.register, low=4, width=3 if self.emio else 2)

    @property
    def dividers(self) -> list[Field]:
        lows = (8, 20) if self.second else (8,)
        return [Field(register=self.register, low=low, width=6) for low in lows]

    def on(self, parameters: Parameters) -> bool:
        """Return whether the parameters have the clock on."""
        if not self.switches:
            return True
        if any(parameters.off(each) for each in self.switches):
            return False
        return any(parameters.on(each) for each in (*self.switches, *dict(self.gates).values()))


_PLLS: Final = {
    "ARM PLL": _Pll(
        control=0xF8000100, configuration=0xF8000110, parameter="PCW_ARMPLL_CTRL_FBDIV"
    ),
    "DDR PLL": _Pll(
        control=0xF8000104, configuration=0xF8000114, parameter="PCW_DDRPLL_CTRL_FBDIV"
    ),
    "IO PLL": _Pll(control=0xF8000108, configuration=0xF8000118, parameter="PCW_IOPLL_CTRL_FBDIV"),
}


def _shared(name: str, register: int, peripheral: str, *, second: bool = False) -> _Clock:
    """Return the clock that two peripherals share, each with a gate of its own."""
    return _Clock(
        name=name,
        actual=name,
        register=register,
        switches=(f"PCW_{name}_PERIPHERAL_VALID",),
        gates=tuple((port, f"PCW_{peripheral}{port}_PERIPHERAL_ENABLE") for port in (0, 1)),
        second=second,
    )


_CLOCKS: Final = (
    *(
        _Clock(
            name=f"ENET{port}",
            actual=f"ENET{port}",
            register=0xF8000140 + 4 * port,
            switches=(f"PCW_ENET{port}_PERIPHERAL_ENABLE",),
            gates=((0, f"PCW_ENET{port}_PERIPHERAL_ENABLE"),),
            second=True,
            emio=True,
        )
        for port in (0, 1)
    ),
    _Clock(
        name="SMC",
        actual="SMC",
        register=0xF8000148,
        switches=("PCW_SMC_PERIPHERAL_VALID",),
        gates=((0, "PCW_SMC_PERIPHERAL_VALID"),),
    ),
    _Clock(
        name="QSPI",
        actual="QSPI",
        register=0xF800014C,
        switches=("PCW_QSPI_PERIPHERAL_ENABLE",),
        gates=((0, "PCW_QSPI_PERIPHERAL_ENABLE"),),
    ),
    _shared("SDIO", 0xF8000150, "SD"),
    _shared("UART", 0xF8000154, "UART"),
    _shared("SPI", 0xF8000158, "SPI"),
    _shared("CAN", 0xF800015C, "CAN", second=True),
    _Clock(name="PCAP", actual="PCAP", register=0xF8000168),
    *(
        _Clock(
            name=f"FCLK{port}",
            actual=f"FPGA{port}",
            register=0xF8000170 + 0x10 * port,
            switches=(f"PCW_FPGA_FCLK{port}_ENABLE", f"PCW_EN_CLK{port}_PORT"),
            second=True,
        )
        for port in range(4)
    ),
)
# Peripheral -> bit of its bus clock in APER_CLK_CTRL. Without it every access hangs. Vivado leaves
# some on that nothing uses.
_GATES: Final = {
    "USB0": 2,
    "USB1": 3,
    "ENET0": 6,
    "ENET1": 7,
    "SD0": 10,
    "SD1": 11,
    "SPI0": 14,
    "SPI1": 15,
    "CAN0": 16,
    "CAN1": 17,
    "I2C0": 18,
    "I2C1": 19,
    "UART0": 20,
    "UART1": 21,
    "QSPI": 23,
}


def expected(parameters: Parameters) -> Iterator[Expectation]:
    """Yield what the parameters say about the registers of PLLs and clocks."""
    for name, pll in _PLLS.items():
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
    for clock in _CLOCKS:
        if clock.on(parameters):
            yield from _clock(clock, parameters)
    for port in (0, 1):
        yield from _receive_clock(port, parameters)
    for name, bit in _GATES.items():
        switch = f"PCW_{name}_PERIPHERAL_ENABLE"
        if parameters.on(switch):
            gate = Field(register=_BUS_CLOCKS, low=bit, width=1)
            yield _expectation(f"{name} bus clock", switch, parameters, gate, {1})


def dependent(registers: Registers, parameters: Parameters) -> Iterator[Expectation]:
    """Yield what follows from a divider: of the parameters, or else of the table itself.

    A PLL's lock settings go with its feedback divider; DDR_2x runs at two thirds of DDR_3x (UG585,
    table 25-6, and chapter 25 on the DDR clocks).
    """
    for name, pll in _PLLS.items():
        divider, says = _divider(pll.parameter, pll.feedback, registers, parameters)
        settings = next((row[1:] for row in _LOCKING if divider and divider <= row[0]), None)
        if settings is None:
            continue
        for (what, low, width), wanted in zip(_LOCK_FIELDS, settings, strict=True):
            yield Expectation(
                what=f"{name} {what}",
                parameter=pll.parameter,
                says=says,
                field=Field(register=pll.configuration, low=low, width=width),
                values=frozenset({wanted}),
            )
    name = "PCW_DDR_PERIPHERAL_DIVISOR0"
    divider, says = _divider(name, _DDR_DIVIDER, registers, parameters)
    if divider and not parameters.off(_DDR):
        yield Expectation(
            what="DDR_2x divider",
            parameter=name,
            says=says,
            field=_DDR_2X_DIVIDER,
            values=frozenset({divider * 3 // 2}),
        )


def _divider(
    name: str, field: Field, registers: Registers, parameters: Parameters
) -> tuple[int | None, str]:
    """Return a divider, and where it is from in words."""
    divider = parameters.integer(name)
    if divider:
        return divider, str(divider)
    own = registers.field(field)
    return own, f"nothing, the table's own divider is {own}"


def frequencies(registers: Registers, parameters: Parameters) -> Iterator[Mismatch]:
    """Yield the clocks whose frequency is not the one that the parameters promise.

    A frequency is the crystal's x the PLL's feedback divider / the dividers of the clock (UG585,
    chapter 25). Nothing is compared where the PLLs are bypassed, or a clock comes from elsewhere.
    """
    if parameters.on(_BYPASS):
        return
    crystal = crystal_frequency(parameters)
    source = registers.field(_CPU_SOURCE)
    pll = next((name for name, values in _CPU_SOURCES.items() if source in values), "ARM PLL")
    found = divided(registers, crystal, pll, [_CPU_DIVIDER])
    yield from _frequency("CPU clock", "PCW_ACT_APU_PERIPHERAL_FREQMHZ", parameters, found)
    if not parameters.off(_DDR):
        found = divided(registers, crystal, "DDR PLL", [_DDR_DIVIDER])
        yield from _frequency("DDR clock", "PCW_UIPARAM_ACT_DDR_FREQ_MHZ", parameters, found)
        found = divided(registers, crystal, "DDR PLL", _DCI_DIVIDERS)
        if has_termination(parameters):
            yield from _frequency("DCI clock", "PCW_ACT_DCI_PERIPHERAL_FREQMHZ", parameters, found)
    for clock in _CLOCKS:
        source = registers.field(clock.source)
        if clock.on(parameters) and source not in _EMIO_SOURCES:
            pll = next((name for name, values in _SOURCES.items() if source in values), "IO PLL")
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
    feedback = registers.field(_PLLS[pll].feedback)
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
    """The CPU clock's feedback and divider: CPU_6x4x = crystal x feedback / divider.

    ratio: CPU_6x4x to CPU_1x, 6 or 4.
    """

    feedback: int
    divider: int
    ratio: int


def cpu_dividers(registers: Registers) -> CpuDividers | None:
    """Return what a table sets of the CPU clock; None if it leaves a part of it alone."""
    source, divider = registers.field(_CPU_SOURCE), registers.field(_CPU_DIVIDER)
    ratio = registers.field(_CPU_RATIO)
    pll = next((name for name, values in _CPU_SOURCES.items() if source in values), None)
    feedback = registers.field(_PLLS[pll].feedback) if pll else None
    if not feedback or not divider or ratio is None:
        return None
    return CpuDividers(feedback=feedback, divider=divider, ratio=6 if ratio else 4)


def uart_frequency(registers: Registers, parameters: Parameters) -> float | None:
    """Return the UARTs' reference clock in MHz, or None if the table leaves it alone."""
    clock = next(each for each in _CLOCKS if each.name == "UART")
    source = registers.field(clock.source)
    pll = next((name for name, values in _SOURCES.items() if source in values), "IO PLL")
    return divided(registers, crystal_frequency(parameters), pll, clock.dividers)


def _cpu(parameters: Parameters) -> Iterator[Expectation]:
    yield from _number("CPU divider", "PCW_CPU_PERIPHERAL_DIVISOR0", parameters, _CPU_DIVIDER)
    yield from _choice(
        "CPU clock source", "PCW_CPU_PERIPHERAL_CLKSRC", parameters, _CPU_SOURCE, _CPU_SOURCES
    )
    ratios = {name: frozenset({value}) for name, value in _RATIOS.items()}
    yield from _choice("CPU ratio", "PCW_APU_CLK_RATIO_ENABLE", parameters, _CPU_RATIO, ratios)


def _ddr(parameters: Parameters) -> Iterator[Expectation]:
    """Yield the clocks of memory, and of its termination (DCI)."""
    name = "PCW_DDR_PERIPHERAL_DIVISOR0"
    yield from _number("DDR_3x divider", name, parameters, _DDR_DIVIDER)
    if parameters.on(_DDR):
        yield _expectation("DDR clocks", _DDR, parameters, _DDR_ON, {3})
    if has_termination(parameters):
        for number, field in enumerate(_DCI_DIVIDERS):
            name = f"PCW_DCI_PERIPHERAL_DIVISOR{number}"
            yield from _number(f"DCI divider {number}", name, parameters, field)
        if parameters.on(_DDR):
            yield _expectation("DCI clock gate", _DDR, parameters, _DCI_ON, {1})


def has_termination(parameters: Parameters) -> bool:
    """Return whether the memory has digitally controlled termination, which LPDDR2 has not."""
    return (parameters.text("PCW_UIPARAM_DDR_MEMORY_TYPE") or "DDR 3").startswith("DDR")


def _clock(clock: _Clock, parameters: Parameters) -> Iterator[Expectation]:
    for number, field in enumerate(clock.dividers):
        name = f"PCW_{clock.name}_PERIPHERAL_DIVISOR{number}"
        yield from _number(f"{clock.actual} divider {number}", name, parameters, field)
    sources = dict(_SOURCES)
    if clock.emio:
        sources["External"] = _EMIO_SOURCES
        if _through_emio(clock.name, parameters):
            sources = {name: values | _EMIO_SOURCES for name, values in sources.items()}
    name = f"PCW_{clock.name}_PERIPHERAL_CLKSRC"
    yield from _choice(f"{clock.actual} clock source", name, parameters, clock.source, sources)
    for bit, switch in clock.gates:
        if parameters.on(switch):
            gate = Field(register=clock.register, low=bit, width=1)
            yield _expectation(f"{clock.actual} clock gate", switch, parameters, gate, {1})


def _through_emio(name: str, parameters: Parameters) -> bool:
    return parameters.text(f"PCW_{name}_{name}_IO") == "EMIO"


def _receive_clock(port: int, parameters: Parameters) -> Iterator[Expectation]:
    """Yield the receive clock of an Ethernet controller: from its MIO pins or through EMIO."""
    name = f"ENET{port}"
    pins = f"PCW_{name}_{name}_IO"
    if not parameters.on(f"PCW_{name}_PERIPHERAL_ENABLE") or parameters.text(pins) is None:
        return
    register = _RECEIVE_CLOCKS[port]
    gate, source = (Field(register=register, low=low, width=1) for low in (0, 4))
    emio = int(_through_emio(name, parameters))
    yield _expectation(f"{name} receive clock gate", pins, parameters, gate, {1})
    yield _expectation(f"{name} receive clock source", pins, parameters, source, {emio})


def _number(what: str, name: str, parameters: Parameters, field: Field) -> Iterator[Expectation]:
    """Yield that a field holds the number that a parameter has, if it has one."""
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
    """Yield that a field holds what a parameter's text stands for, if that is known."""
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
