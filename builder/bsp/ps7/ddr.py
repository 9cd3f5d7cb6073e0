# SPDX-License-Identifier: MIT
"""Check of the DDR controller against Vivado's parameters.

Fields and the meaning of each timing are those of UG585, appendix B.7 (DDRC); times in ns that no
parameter has are JEDEC's (JESD79-3, DDR3). The rules apply to DDR3 only, with bursts of 8 and no
additive latency, as in the exports of tests/data/ps7. The module `lanes` has the byte lanes and
their training.

Not covered: DDR2 and LPDDR2 except the width of the bus, ECC except its mode, drive strength and
slew rate of the pads (they differ between Vivado's versions), command queues and priorities of the
ports, and settings of the PHY that are the same in every export.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from builder.bsp.ps7 import lanes as ps7_lanes
from builder.bsp.ps7.fields import Expectation, Field, Mismatch, Parameters, Registers
from builder.bsp.ps7.lanes import TYPE, WIDTH, WIDTHS, P, at, expectation, has_ecc, is_measured

_DDR3: Final = frozenset({"DDR 3", "DDR 3 (Low Voltage)"})

# Refresh cycle time in ns by the size of a chip (JESD79-3, refresh parameters by density; for 4
# Gbit, JEDEC's first versions and Vivado have 300).
_T_RFC: Final = {"512 MBits": 90, "1024 MBits": 110, "2048 MBits": 160, "4096 MBits": 300}
# In ns: average refresh interval, and the maximum time that a row may stay open: 9 intervals.
_T_REFI: Final = 7800.0
_T_RAS_MAX: Final = 9 * _T_REFI
_T_WR, _T_WTR, _T_RTP = 15.0, 7.5, 7.5
# In ns by speed bin: row-to-row delay of chips with a page of 2 KB (16 bits wide), and exit from
# power-down.
_T_RRD: Final = {800: 10.0, 1066: 10.0, 1333: 7.5, 1600: 7.5}
_T_XP: Final = {800: 7.5, 1066: 7.5, 1333: 6.0, 1600: 6.0}
# In ns: reset and the wait after it (200 and 500 us), reset alone, and the interval of short
# calibrations.
_RESET_AND_WAIT, _RESET, _ZQ_INTERVAL = 700e3, 200e3, 100e6
# Write recovery in cycles -> bits 11:9 of MR0.
_WRITE_RECOVERY: Final = {5: 1, 6: 2, 7: 3, 8: 4, 9: 5, 10: 5, 11: 6, 12: 6, 13: 7, 14: 7}

# Fixed fields for DDR3 with bursts of 8 and no additive latency: name, register, lowest bit, width,
# value.
_FIXED: Final = (
    ("burst8_refresh", 0x000, 4, 3, 0),
    ("rdwr_idle_gap", 0x000, 7, 7, 1),
    ("dis_auto_refresh", 0x000, 16, 1, 0),
    ("active_ranks", 0x004, 12, 2, 1),
    # tDLLK, 512 cycles, in units of 32.
    ("post_selfref_gap_x32", 0x014, 14, 7, 16),
    ("t_ccd", 0x020, 2, 3, 4),
    ("mode_ddr1_ddr2", 0x020, 29, 1, 1),
    ("t_mrd", 0x028, 11, 3, 4),
    # MR0: bursts of 8, reset of the delay line.
    ("burst length in MR0", 0x030, 0, 3, 0),
    ("DLL reset in MR0", 0x030, 8, 1, 1),
    ("burst_rdwr", 0x034, 0, 4, 4),
    ("burstchop", 0x034, 28, 1, 0),
    # tWLMRD.
    ("dfi_t_wlmrd", 0x068, 16, 10, 40),
    ("ddr3", 0x0A4, 1, 1, 1),
    ("t_mod", 0x0A4, 2, 10, 512),
    ("t_zq_long_nop", 0x0A4, 12, 10, 512),
    ("t_zq_short_nop", 0x0A4, 22, 10, 64),
    ("lpddr2", 0x2A8, 0, 1, 0),
)
# Further fixed fields for clocks near those of the exports (`MEASURED_CLOCKS`).
_FIXED_NEAR: Final = (
    ("powerdown_to_x32", 0x018, 5, 5, 6),
    ("t_cke", 0x018, 28, 4, 4),
    ("refresh_margin", 0x020, 8, 4, 2),
    ("refresh_to_x32", 0x020, 16, 5, 8),
    ("final_wait_x32", 0x028, 0, 7, 7),
    ("pre_ocd_x32", 0x028, 7, 4, 0),
    ("post_cke_x1024", 0x034, 16, 10, 1),
    ("rd_odt_delay", 0x05C, 0, 4, 3),
    ("wr_odt_delay", 0x05C, 4, 4, 0),
    ("rd_odt_hold", 0x05C, 8, 4, 0),
    ("wr_odt_hold", 0x05C, 12, 4, 5),
    ("wrlvl_ww", 0x068, 0, 8, 65),
    ("rdlvl_rr", 0x068, 8, 8, 65),
    ("dfi_t_ctrl_delay", 0x078, 0, 4, 1),
    ("dfi_t_dram_clk_disable", 0x078, 4, 4, 1),
    ("dfi_t_dram_clk_enable", 0x078, 8, 4, 1),
    ("t_cksre", 0x078, 12, 4, 6),
    ("t_cksrx", 0x078, 16, 4, 6),
    ("t_ckesr", 0x078, 20, 6, 4),
    ("t_ckpde", 0x07C, 0, 4, 2),
    ("t_ckpdx", 0x07C, 4, 4, 2),
    ("t_ckdpde", 0x07C, 8, 4, 2),
    ("t_ckdpdx", 0x07C, 12, 4, 2),
    ("t_ckcsx", 0x07C, 16, 4, 3),
    ("dfi_t_ctrlup_min", 0x0B8, 5, 10, 3),
    ("dfi_t_ctrlup_max", 0x0B8, 15, 10, 64),
)
# Times in ns of Vivado's memory parts, for designs whose parameters leave them at their defaults.
# They are those of exports with these parts.
_PARTS: Final[Mapping[str, Mapping[str, str]]] = {
    "MT41J128M16 HA-15E": {"T_RC": "49.5", "T_RAS_MIN": "36.0", "T_FAW": "45.0"},
    "MT41J256M16 RE-125": {"T_RC": "48.91", "T_RAS_MIN": "35.0", "T_FAW": "40.0"},
    "MT41K128M16 JT-125": {"T_RC": "48.75", "T_RAS_MIN": "35.0", "T_FAW": "40.0"},
    "MT41K256M16 RE-125": {"T_RC": "48.75", "T_RAS_MIN": "35.0", "T_FAW": "40.0"},
}
_PART_COMMON: Final = {
    "CL": "7",
    "CWL": "6",
    "T_RCD": "7",
    "T_RP": "7",
    "SPEED_BIN": "DDR3_1066F",
    "DRAM_WIDTH": "16 Bits",
    "BANK_ADDR_COUNT": "3",
    "COL_ADDR_COUNT": "10",
}
# Vivado's versions round the clock to single precision, up or down: 533.333313, 533.333333 or
# 533.333374 MHz. A time that is a whole number of cycles may then be one cycle longer or shorter.
_ROUNDINGS: Final = (1.0, 1 - 1e-6, 1 + 1e-6)


def roundings(parameters: Parameters) -> list[list[Expectation]]:
    """Return the expected fields for each way in which Vivado rounds the clock.

    There is one list if the clock is unknown, and none if the memory is disabled.
    """
    if parameters.off(P + "ENABLE"):
        return []
    clock = memory_clock(parameters)
    clocks = [clock * factor for factor in _ROUNDINGS] if clock else [None]
    return [list(expected(parameters, mhz)) for mhz in clocks]


def differences(registers: Registers, roundings: Iterable[Iterable[Expectation]]) -> list[Mismatch]:
    """Return the contradictions between the DDR controller's registers and `roundings`.

    All timings of a table are rounded in the same way: the rounding with the fewest differences
    counts.
    """
    best: list[Mismatch] | None = None
    for expectations in roundings:
        found = list(registers.differences(expectations))
        if not found:
            return []
        if best is None or len(found) < len(best):
            best = found
    return best or []


def memory_clock(parameters: Parameters) -> float | None:
    """Return the memory's clock in MHz; None if the parameters do not contain it."""
    actual = parameters.number("PCW_UIPARAM_ACT_DDR_FREQ_MHZ")
    return actual or parameters.number(P + "FREQ_MHZ")


def expected(parameters: Parameters, mhz: float | None) -> Iterator[Expectation]:
    """Yield the expected fields of the DDR controller at a clock of `mhz`."""
    yield from _bus(parameters)
    if parameters.text(TYPE) not in _DDR3:
        return
    yield from ps7_lanes.expected(parameters, mhz)
    defaults = _of_part(parameters)
    for each in _Memory(parameters.over(defaults), mhz).expected():
        part = P + "PARTNO"
        if parameters.text(each.parameter) is None and each.parameter in defaults:
            name = each.parameter.removeprefix(P)
            says = f"{parameters.text(part)}, with {name} {defaults[each.parameter]}"
            yield replace(each, parameter=part, says=says)
        else:
            yield each


def _of_part(parameters: Parameters) -> dict[str, str]:
    """Return Vivado's default parameters of the memory part; none if the part is unknown."""
    part = parameters.text(P + "PARTNO") or ""
    if part not in _PARTS:
        return {}
    found = {**_PART_COMMON, **_PARTS[part]}
    # Micron's part names contain words x width: MT41J256M16 has 256 M words of 16 bits.
    size = re.match(r"MT41[JK](\d+)M(\d+)", part)
    if size:
        found["DEVICE_CAPACITY"] = f"{int(size[1]) * int(size[2])} MBits"
        found["ROW_ADDR_COUNT"] = {"128": "14", "256": "15"}.get(size[1], "")
    return {P + name: value for name, value in found.items()}


def _bus(parameters: Parameters) -> Iterator[Expectation]:
    """Yield the expected bus width and ECC mode, which all kinds of memory have."""
    width = parameters.text(WIDTH)
    if width in WIDTHS:
        found = expectation("width", WIDTH, parameters, at(0x000, 2, 2), WIDTHS[width])
        yield replace(found, meanings={value: name for name, value in WIDTHS.items()})
    name = P + "ECC"
    ecc = parameters.text(name)
    if ecc in {"Disabled", "Enabled"}:
        mode = 4 if ecc == "Enabled" else 0
        yield expectation("ecc_mode", name, parameters, at(0x0F4, 0, 3), mode)


def _up(cycles: float) -> int:
    """Return a time in cycles, rounded up; errors of binary fractions are ignored."""
    return math.ceil(cycles - 1e-9)


@dataclass(frozen=True)
class _Memory:
    """A DDR3 memory and its clock in MHz."""

    parameters: Parameters
    mhz: float | None

    def expected(self) -> Iterator[Expectation]:
        """Yield the expected fields of the memory."""
        if not self.plain:
            return
        yield from self.fixed()
        yield from self.latencies()
        yield from self.addresses()
        if self.mhz:
            yield from self.timing(self.mhz)
            yield from self.initialization(self.mhz)

    @property
    def plain(self) -> bool:
        """Whether bursts have length 8 and there is no additive latency, as in all exports."""
        return (
            self.parameters.text(P + "BL") in {None, "8"}
            and self.parameters.text(P + "AL") in {None, "0"}
            and not self.parameters.on(P + "CLOCK_STOP_EN")
        )

    @property
    def speed(self) -> int | None:
        """Data rate of the speed bin, such as 1066 for DDR3_1066F."""
        found = re.match(r"DDR3_(\d+)", self.parameters.text(P + "SPEED_BIN") or "")
        return int(found[1]) if found else None

    def _says(self, what: str, parameter: str, field: Field, value: int) -> Expectation:
        return expectation(what, parameter, self.parameters, field, value)

    def fixed(self) -> Iterator[Expectation]:
        """Yield the fields that are the same for every DDR3 memory."""
        near = _FIXED_NEAR if is_measured(self.mhz) else ()
        for what, offset, low, width, value in (*_FIXED, *near):
            yield self._says(what, TYPE, at(offset, low, width), value)

    def latencies(self) -> Iterator[Expectation]:
        """Yield the fields that follow from the CAS latencies, in cycles.

        UG585: write_latency is WL - 1, read_latency RL, rd2wr is RL + BL/2 + 2 - WL for DDR3.
        t_rddata_en is RL - 1. Mode registers (JESD79-3): MR0 bits 6:4 are CL - 4, for CL from 5 to
        11; MR2 bits 5:3 are CWL - 5.
        """
        cas = self.parameters.integer(P + "CL")
        if cas:
            yield self._says("read_latency", P + "CL", at(0x020, 24, 5), cas)
            yield self._says("t_rddata_en", P + "CL", at(0x0B8, 0, 5), cas - 1)
            if cas <= 11:
                yield self._says("CAS latency in MR0", P + "CL", at(0x030, 4, 3), cas - 4)
        write = self.parameters.integer(P + "CWL")
        if write:
            yield self._says("write_latency", P + "CWL", at(0x01C, 0, 5), write - 1)
            yield self._says("CAS write latency in MR2", P + "CWL", at(0x02C, 3, 3), write - 5)
        if cas and write:
            yield self._says("rd2wr", P + "CL", at(0x01C, 5, 5), cas + 4 + 2 - write)
        # In cycles; custom parts may have a fraction there, which Vivado drops.
        for what, name, offset, low in (("t_rcd", "T_RCD", 0x01C, 28), ("t_rp", "T_RP", 0x020, 12)):
            cycles = self.parameters.number(P + name)
            if cycles:
                yield self._says(what, P + name, at(offset, low, 4), int(cycles))

    def timing(self, mhz: float) -> Iterator[Expectation]:
        """Yield the timings in cycles, rounded up (UG585: ceil(ns / clock period))."""
        cycles = mhz / 1000
        for what, name, offset, low, width in (
            ("t_rc", "T_RC", 0x014, 0, 6),
            ("t_ras_min", "T_RAS_MIN", 0x018, 22, 5),
            ("t_faw", "T_FAW", 0x018, 10, 6),
        ):
            time = self.parameters.number(P + name)
            if time:
                yield self._says(what, P + name, at(offset, low, width), _up(time * cycles))
        capacity = P + "DEVICE_CAPACITY"
        refresh = _T_RFC.get(self.parameters.text(capacity) or "")
        if refresh:
            yield self._says("t_rfc_min", capacity, at(0x014, 6, 8), _up(refresh * cycles))
        yield from self._by_speed_bin(cycles)
        yield from self._after_writes(cycles)
        high_temperature = P + "HIGH_TEMP"
        if (self.parameters.text(high_temperature) or "").startswith("Normal"):
            interval = int(_T_REFI * cycles / 32)
            yield self._says("t_rfc_nom_x32", high_temperature, at(0x004, 0, 12), interval)
            longest = int(_T_RAS_MAX * cycles / 1024)
            yield self._says("t_ras_max", high_temperature, at(0x018, 16, 6), longest)

    def _by_speed_bin(self, cycles: float) -> Iterator[Expectation]:
        speed = self.speed
        name = P + "SPEED_BIN"
        if speed in _T_XP:
            yield self._says("t_xp", name, at(0x01C, 15, 5), max(3, _up(_T_XP[speed] * cycles)))
        if speed in _T_RRD and self.parameters.text(P + "DRAM_WIDTH") == "16 Bits":
            yield self._says("t_rrd", name, at(0x020, 5, 3), max(4, _up(_T_RRD[speed] * cycles)))

    def _after_writes(self, cycles: float) -> Iterator[Expectation]:
        """Yield the gaps between commands.

        UG585, for DDR3: rd2pre is AL + max(tRTP, 4), wr2pre WL + BL/2 + tWR, wr2rd WL + BL/2 +
        tWTR.
        """
        frequency = "PCW_UIPARAM_ACT_DDR_FREQ_MHZ"
        name = frequency if self.parameters.text(frequency) else P + "FREQ_MHZ"
        yield self._says("rd2pre", name, at(0x01C, 23, 5), max(4, _up(_T_RTP * cycles)))
        recovery = _up(_T_WR * cycles)
        if recovery in _WRITE_RECOVERY:
            yield self._says("tWR in MR0", name, at(0x030, 9, 3), _WRITE_RECOVERY[recovery])
        write = self.parameters.integer(P + "CWL")
        if write:
            turn = max(4, _up(_T_WTR * cycles))
            yield self._says("wr2pre", P + "CWL", at(0x018, 0, 5), write + 4 + recovery)
            yield self._says("wr2rd", P + "CWL", at(0x01C, 10, 5), write + 4 + turn)

    def initialization(self, mhz: float) -> Iterator[Expectation]:
        """Yield the waits of JEDEC's initialization of DDR3 memory, in units of 1024 cycles."""
        frequency = "PCW_UIPARAM_ACT_DDR_FREQ_MHZ"
        name = frequency if self.parameters.text(frequency) else P + "FREQ_MHZ"
        units = mhz / 1000 / 1024
        for what, offset, low, width, value in (
            ("pre_cke_x1024", 0x034, 4, 10, _up(_RESET_AND_WAIT * units)),
            ("dram_rstn_x1024", 0x0A8, 20, 8, _up(_RESET * units)),
            ("t_zq_short_interval_x1024", 0x0A8, 0, 20, int(_ZQ_INTERVAL * units)),
        ):
            yield self._says(what, name, at(offset, low, width), value)

    def addresses(self) -> Iterator[Expectation]:
        """Yield the positions of banks and rows in an address (UG585, chapter 10, address mapping).

        They are known for 10 column and 3 bank bits: the bank bits follow the columns, the row bits
        follow the bank. Row bits that the memory does not have are 0xF.
        """
        rows = self.parameters.integer(P + "ROW_ADDR_COUNT")
        width = self.parameters.text(WIDTH)
        known = (
            self.parameters.integer(P + "COL_ADDR_COUNT") == 10
            and self.parameters.integer(P + "BANK_ADDR_COUNT") == 3
        )
        if not known or has_ecc(self.parameters) or width not in WIDTHS:
            return
        shift = {"32 Bit": 1, "16 Bit": 0}[width]
        columns = {"32 Bit": 0xFFF00000, "16 Bit": 0xFFFF0000}[width]
        yield self._says("addrmap_col", WIDTH, at(0x040, 0, 32), columns)
        for bit in range(3):
            what = f"addrmap_bank_b{bit}"
            yield self._says(what, WIDTH, at(0x03C, 4 * bit, 4), 6 + shift)
        if rows is None or not 12 <= rows <= 16:
            return
        for what, low, needs in (
            ("b0", 0, 0),
            ("b1", 4, 0),
            ("b2_11", 8, 0),
            ("b12", 12, 13),
            ("b13", 16, 14),
            ("b14", 20, 15),
            ("b15", 24, 16),
        ):
            value = 5 + shift if rows >= needs else 0xF
            yield self._says(f"addrmap_row_{what}", P + "ROW_ADDR_COUNT", at(0x044, low, 4), value)
