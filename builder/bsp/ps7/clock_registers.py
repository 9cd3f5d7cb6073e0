# SPDX-License-Identifier: MIT
"""Registers of the PLLs and clocks of a Zynq-7000, and the parameters that set them.

Registers and fields are those of UG585, appendix B.28 (SLCR), and chapter 25, "Clocks".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from builder.bsp.ps7.fields import Field, Parameters

CPU_SOURCE: Final = Field(register=0xF8000120, low=4, width=2)
CPU_DIVIDER: Final = Field(register=0xF8000120, low=8, width=6)
CPU_RATIO: Final = Field(register=0xF80001C4, low=0, width=1)
CPU_RATIOS: Final = {"4:2:1": 0, "6:2:1": 1}
DDR_ON: Final = Field(register=0xF8000124, low=0, width=2)
DDR_DIVIDER: Final = Field(register=0xF8000124, low=20, width=6)
DDR_2X_DIVIDER: Final = Field(register=0xF8000124, low=26, width=6)
DCI_ON: Final = Field(register=0xF8000128, low=0, width=1)
DCI_DIVIDERS: Final = (
    Field(register=0xF8000128, low=8, width=6),
    Field(register=0xF8000128, low=20, width=6),
)
ETHERNET_RECEIVE_CLOCKS: Final = (0xF8000138, 0xF800013C)
BUS_CLOCKS: Final = 0xF800012C
# Clock sources and their values in the SRCSEL fields, of the CPU and of peripherals; several values
# may select the same source.
CPU_SOURCES: Final = {
    "ARM PLL": frozenset({0, 1}),
    "DDR PLL": frozenset({2}),
    "IO PLL": frozenset({3}),
}
PERIPHERAL_SOURCES: Final = {
    "IO PLL": frozenset({0, 1}),
    "ARM PLL": frozenset({2}),
    "DDR PLL": frozenset({3}),
}
# SRCSEL of GEMx_CLK_CTRL has three bits: if the highest is set, the clock comes through EMIO.
EMIO_SOURCES: Final = frozenset({4, 5, 6, 7})
# Highest feedback divider of a range, then PLL_CP, PLL_RES and LOCK_CNT for it: UG585, table 25-6.
# The smallest divider is 13.
LOCK_FIELDS: Final = (("PLL_CP", 8, 4), ("PLL_RES", 4, 4), ("LOCK_CNT", 12, 10))
LOCK_SETTINGS: Final = (
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
class Pll:
    """A PLL: its control and configuration registers, and the parameter of its divider."""

    control: int
    configuration: int
    parameter: str

    @property
    def feedback(self) -> Field:
        return Field(register=self.control, low=12, width=7)


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A clock control register.

    name: as in PCW_<name>_PERIPHERAL_CLKSRC and ..._DIVISOR0.
    actual: as in PCW_ACT_<actual>_PERIPHERAL_FREQMHZ.
    switches: parameters that enable the clock: none of them may be off, and one of them or of the
        gates' parameters must be on.
    gates: bits of the register that enable an output, and their parameters.
    second: whether there is a second divider.
    emio: whether the clock can come from the programmable logic through EMIO.
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
        """Return whether the parameters enable the clock."""
        if not self.switches:
            return True
        if any(parameters.off(each) for each in self.switches):
            return False
        return any(parameters.on(each) for each in (*self.switches, *dict(self.gates).values()))


PLLS: Final = {
    "ARM PLL": Pll(control=0xF8000100, configuration=0xF8000110, parameter="PCW_ARMPLL_CTRL_FBDIV"),
    "DDR PLL": Pll(control=0xF8000104, configuration=0xF8000114, parameter="PCW_DDRPLL_CTRL_FBDIV"),
    "IO PLL": Pll(control=0xF8000108, configuration=0xF8000118, parameter="PCW_IOPLL_CTRL_FBDIV"),
}


def _shared(name: str, register: int, peripheral: str, *, second: bool = False) -> Clock:
    """Return a clock that two peripherals share, each with its own gate."""
    return Clock(
        name=name,
        actual=name,
        register=register,
        switches=(f"PCW_{name}_PERIPHERAL_VALID",),
        gates=tuple((port, f"PCW_{peripheral}{port}_PERIPHERAL_ENABLE") for port in (0, 1)),
        second=second,
    )


PERIPHERAL_CLOCKS: Final = (
    *(
        Clock(
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
    Clock(
        name="SMC",
        actual="SMC",
        register=0xF8000148,
        switches=("PCW_SMC_PERIPHERAL_VALID",),
        gates=((0, "PCW_SMC_PERIPHERAL_VALID"),),
    ),
    Clock(
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
    Clock(name="PCAP", actual="PCAP", register=0xF8000168),
    *(
        Clock(
            name=f"FCLK{port}",
            actual=f"FPGA{port}",
            register=0xF8000170 + 0x10 * port,
            switches=(f"PCW_FPGA_FCLK{port}_ENABLE", f"PCW_EN_CLK{port}_PORT"),
            second=True,
        )
        for port in range(4)
    ),
)
# Peripheral -> bit of its bus clock in APER_CLK_CTRL. Without the clock every access hangs. Vivado
# also enables some bus clocks that are not used.
BUS_CLOCK_GATES: Final = {
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
