# SPDX-License-Identifier: MIT
"""CPU clocks of a Zynq-7000 at its operating points, and the limits that they have to satisfy.

The CPU clock CPU_6x4x is a PLL's frequency, divided. CPU_3x2x, CPU_2x and CPU_1x are fixed
fractions of it, in one of two ratios, 6:2:1 and 4:2:1 (UG585, chapter 25), so all of them change
when the kernel changes the operating point:

* CPU_1x clocks the USB controllers, which need more than 60 MHz (UG585, chapter 15).
* CPU_3x2x clocks the global timer, whose driver keeps the timer's rate constant by its prescaler.
  It starts with a prescaler of 2 and rejects clocks from which it cannot derive the same rate
  (drivers/clocksource/arm_global_timer.c of Linux 6.1; CONFIG_ARM_GT_INITIAL_PRESCALER_VAL).
* CPU_1x clocks the triple timer counters, whose driver rejects all changes of the clock other than
  by a power of two (drivers/clocksource/timer-cadence-ttc.c).

The private timers have a prescaler, too, but their driver does not use it and follows all changes
(arch/arm/kernel/smp_twd.c).

An operating point is an upper limit: the kernel takes the smallest divider that does not exceed it
(drivers/clk/clk-divider.c, without CLK_DIVIDER_ROUND_CLOSEST). A point that is rounded down, such
as 533333 kHz for 533.333328 MHz, gets the next divider, and so a much lower clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from builder.bsp.ps7.clocks import CpuDividers, cpu_dividers
from builder.bsp.ps7.fields import Parameters, Registers
from builder.bsp.ps7.table import StartupTable

DEFAULT_CRYSTAL: Final = 33_333_333
"""Hz; the kernel's default for `ps-clk-frequency` (drivers/clk/zynq/clkc.c)."""

SOC_POINTS: Final = (666_667, 333_334)
"""Operating points in kHz of zynq-7000.dtsi, the same in Linux, U-Boot and AMD's kernel."""

_USB_LEAST: Final = 60_000_000
_TIMER_PRESCALER: Final = 2
_TIMER_ERROR: Final = 50
"""Tolerance in Hz of a timer's rate: MAX_F_ERR of both drivers."""
_MOST_DIVIDER: Final = 63
_ROUNDING: Final = 1e-6
_PARAMETERS: Final = "the PCW_ parameters"


@dataclass(frozen=True, kw_only=True)
class CpuClock:
    """The CPU clock after start-up.

    pll: frequency of its PLL in Hz.
    divider: divider between the PLL and CPU_6x4x.
    ratio: CPU_6x4x to CPU_1x, 6 or 4.
    known_from: origin of these values, for messages.
    """

    pll: int
    divider: int
    ratio: int
    known_from: str

    @property
    def frequency(self) -> float:
        """CPU_6x4x in Hz."""
        return self.pll / self.divider

    def at(self, point: int) -> float:
        """Return CPU_6x4x in Hz at an operating point in kHz, as the kernel sets it."""
        asked = max(point, 1) * 1000
        return self.pll / min(-(-self.pll // asked), _MOST_DIVIDER)

    def slow(self, frequency: float) -> float:
        """Return CPU_1x in Hz for a CPU_6x4x."""
        return frequency / self.ratio


def clock_of_table(table: StartupTable, crystal: int) -> CpuClock | None:
    """Return the CPU clock that a start-up table sets; None if it does not set all dividers."""
    found = cpu_dividers(Registers(table))
    return clock_of_dividers(found, crystal, known_from=f"the start-up table {table.origin}")


def clock_of_dividers(
    found: CpuDividers | None, crystal: int, *, known_from: str
) -> CpuClock | None:
    """Return the CPU clock of a crystal in Hz and dividers; None if one of them is unknown."""
    if found is None or not (crystal and found.feedback and found.divider):
        return None
    return CpuClock(
        pll=crystal * found.feedback,
        divider=found.divider,
        ratio=found.ratio,
        known_from=known_from,
    )


def clock_of_parameters(parameters: Mapping[str, str], crystal: int) -> CpuClock | None:
    """Return the CPU clock in Vivado's parameters; None if they do not contain it."""
    known = Parameters(parameters)
    ratio = 4 if known.text("PCW_APU_CLK_RATIO_ENABLE") == "4:2:1" else 6
    source = known.text("PCW_CPU_PERIPHERAL_CLKSRC") or "ARM PLL"
    feedback = known.integer(f"PCW_{source.replace(' ', '')}_CTRL_FBDIV")
    divider = known.integer("PCW_CPU_PERIPHERAL_DIVISOR0")
    if feedback and divider:
        found = CpuDividers(feedback=feedback, divider=divider, ratio=ratio)
        return clock_of_dividers(found, crystal, known_from=_PARAMETERS)
    # The parameters of a block design have the frequency, and dividers only if they were set.
    frequency = known.number("PCW_ACT_APU_PERIPHERAL_FREQMHZ")
    pll = round(2e6 * frequency) if frequency else 0
    if not pll:
        return None
    return CpuClock(pll=pll, divider=2, ratio=ratio, known_from=_PARAMETERS)


def assumed_clock(points: Sequence[int]) -> CpuClock:
    """Return the CPU clock to assume if the start-up code is unknown.

    It is the highest operating point, from a PLL of twice its frequency, in the ratio 6:2:1,
    Vivado's default.
    """
    return CpuClock(
        pll=2000 * max(1, *points),
        divider=2,
        ratio=6,
        known_from="the highest operating point and the ratio 6:2:1, because the start-up code is "
        "unknown",
    )


def faults(clock: CpuClock, points: Sequence[int], usb: Sequence[str]) -> Iterator[str]:
    """Yield the faults of operating points.

    Args:
        clock: the CPU clock after start-up.
        points: operating points in kHz.
        usb: labels of the enabled USB controllers.
    """
    for point in points:
        found = clock.at(point)
        here = f"at {point} kHz the kernel sets the CPU to {_mhz(found)}"
        if found > clock.frequency * (1 + _ROUNDING):
            yield (
                f"{here}, but start-up to {_mhz(clock.frequency)}: the CPU would be faster than the "
                "design allows"
            )
        elif not _timers_follow(clock, found):
            yield (
                f"{here}, which is neither the {_mhz(clock.frequency)} of start-up nor half of "
                "that: the drivers of the kernel's timers reject the change, and the kernel stops "
                "if it has to begin with this point (BUG in cpufreq.c)"
            )
        elif usb and clock.slow(found) <= _USB_LEAST:
            yield (
                f"{_slow(f'at {point} kHz', clock.slow(found), usb)}: USB devices fail whenever the "
                "CPU is at this point"
            )


def start_up_fault(clock: CpuClock, usb: Sequence[str]) -> str | None:
    """Return the fault of the CPU clock after start-up; None if there is none."""
    slow = clock.slow(clock.frequency)
    if not usb or slow > _USB_LEAST:
        return None
    when = f"with the CPU at {_mhz(clock.frequency)}, as start-up sets it,"
    return f"{_slow(when, slow, usb)}: USB devices fail"


def _slow(when: str, frequency: float, usb: Sequence[str]) -> str:
    return (
        f"{when} CPU_1x is {_mhz(frequency)}, but {' and '.join(usb)} "
        f"{'is' if len(usb) == 1 else 'are'} enabled and a USB controller needs more than 60 MHz "
        "(UG585, chapter 15)"
    )


def _timers_follow(clock: CpuClock, frequency: float) -> bool:
    """Return whether the drivers of the timers accept a change of the CPU clock to `frequency`."""
    wanted = clock.frequency / 2 / _TIMER_PRESCALER
    prescaler = round(frequency / 2 / wanted)
    if prescaler < 1 or abs(wanted - frequency / 2 / prescaler) > _TIMER_ERROR:
        return False
    high, low = sorted(map(clock.slow, (clock.frequency, frequency)), reverse=True)
    factor = round(high / low)
    return factor & (factor - 1) == 0 and abs(high - factor * low) <= _TIMER_ERROR


def _mhz(frequency: float) -> str:
    return f"{frequency / 1e6:.3f} MHz"
