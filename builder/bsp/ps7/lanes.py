# SPDX-License-Identifier: MIT
"""Check of the byte lanes of the DDR controller: use, pads, and start values of the training.

Fields are those of UG585, appendices B.7 (DDRC) and B.28 (SLCR, DDRIOB). The formulas of the
training start values are empirical: they hold for all exports of tests/data/ps7, with DDR3 at 525
and 533 MHz and training enabled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from builder.bsp.ps7.fields import Expectation, Field, Parameters

P: Final = "PCW_UIPARAM_DDR_"
TYPE: Final = P + "MEMORY_TYPE"
WIDTH: Final = P + "BUS_WIDTH"
WIDTHS: Final = {"32 Bit": 0, "16 Bit": 1}
_LANES: Final = range(4)
MEASURED_CLOCKS: Final = (520.0, 540.0)
"""Range of clocks in MHz for which fields that depend on the clock by an unknown rule are known."""

# Registers of lane 0; those of the other lanes follow, 4 bytes apart.
_SLICE, _RATIOS, _READ_DQS, _WRITE_DQS, _FIFO_WE, _WRITE_DATA = (
    0x118,
    0x12C,
    0x140,
    0x154,
    0x168,
    0x17C,
)
_PAD_DATA: Final = (0xF8000B48, 0xF8000B4C)
_PAD_STROBE: Final = (0xF8000B50, 0xF8000B54)
_PAD_CONTROL: Final = 0xF8000B6C


def expected(parameters: Parameters, mhz: float | None) -> Iterator[Expectation]:
    """Yield the expected fields of the lanes of DDR3 memory at a clock of `mhz`."""
    yield from _switches(parameters)
    yield from _reference_voltage(parameters)
    if mhz:
        yield from _lanes(parameters, mhz)


def is_measured(mhz: float | None) -> bool:
    """Return whether a clock in MHz is near those of the exports."""
    return mhz is not None and MEASURED_CLOCKS[0] <= mhz <= MEASURED_CLOCKS[1]


def has_ecc(parameters: Parameters) -> bool:
    """Return whether lanes are used for check bits."""
    return parameters.text(P + "ECC") not in {None, "Disabled"}


def at(offset: int, low: int, width: int) -> Field:
    """Return a field of the DDR controller."""
    return Field(register=0xF8006000 + offset, low=low, width=width)


def expectation(
    what: str, name: str, parameters: Parameters, field: Field, value: int
) -> Expectation:
    """Return the expectation that a field has one value because of a parameter."""
    return Expectation(
        what=f"DDR {what}",
        parameter=name,
        says=parameters.text(name) or "nothing",
        field=field,
        values=frozenset({value}),
    )


def _switches(parameters: Parameters) -> Iterator[Expectation]:
    """Yield the expected enable bits of the three trainings, in reg_2c."""
    for what, name, bit in (
        ("dfi_wr_level_en", P + "TRAIN_WRITE_LEVEL", 26),
        ("dfi_rd_dqs_gate_level", P + "TRAIN_READ_GATE", 27),
        ("dfi_rd_data_eye_train", P + "TRAIN_DATA_EYE", 28),
    ):
        if parameters.text(name) is not None:
            value = int(parameters.on(name))
            yield expectation(what, name, parameters, at(0x0B0, bit, 1), value)


def _reference_voltage(parameters: Parameters) -> Iterator[Expectation]:
    """Yield the expected source of VREF: internal, or one external pin per half of the bus."""
    name = P + "USE_INTERNAL_VREF"
    width = parameters.text(WIDTH)
    if parameters.text(name) is not None and width in WIDTHS and not has_ecc(parameters):
        internal = parameters.on(name)
        external = 0 if internal else {"32 Bit": 3, "16 Bit": 1}[width]
        for what, low, bits, value in (
            ("VREF_INT_EN", 0, 1, int(internal)),
            ("VREF_EXT_EN", 5, 2, external),
        ):
            field = Field(register=_PAD_CONTROL, low=low, width=bits)
            yield expectation(what, name, parameters, field, value)


def _lanes(parameters: Parameters, mhz: float) -> Iterator[Expectation]:
    """Yield the expected use and training start values of each byte lane.

    256 units are one clock period. The bits above a slave ratio are 0: otherwise they would select
    a fixed delay in its place.
    """
    width = parameters.text(WIDTH)
    for lane in _LANES:
        if width in WIDTHS and not has_ecc(parameters):
            used = int(lane < {"32 Bit": 4, "16 Bit": 2}[width])
            what = f"data_slice_in_use of lane {lane}"
            yield expectation(what, WIDTH, parameters, at(_SLICE + 4 * lane, 0, 1), used)
        yield from _write_level(lane, parameters, mhz)
        yield from _read_gate(lane, parameters, mhz)
        if is_measured(mhz):
            offset = _READ_DQS + 4 * lane
            what = f"rd_dqs_slave_ratio of lane {lane}"
            yield expectation(what, TYPE, parameters, at(offset, 0, 20), 0x35)
    if width in WIDTHS and not has_ecc(parameters):
        for half, used in enumerate((True, width == "32 Bit")):
            for what, registers in (("data", _PAD_DATA), ("strobe", _PAD_STROBE)):
                field = Field(register=registers[half], low=9, width=3)
                # OUTPUT_EN is 3 for pads in use; unused pads have PULLUP_EN instead.
                name = f"{what} pads of lanes {2 * half} and {2 * half + 1}"
                yield expectation(name, WIDTH, parameters, field, 3 if used else 4)


def _write_level(lane: int, parameters: Parameters, mhz: float) -> Iterator[Expectation]:
    name = f"{P}DQS_TO_CLK_DELAY_{lane}"
    delay = parameters.signed(name)
    if delay is None or parameters.off(P + "TRAIN_WRITE_LEVEL"):
        return
    level = int(delay * 256 * mhz / 1000)
    for what, offset, width, value in (
        ("wrlvl_init_ratio", _RATIOS, 10, max(0, level)),
        ("wr_dqs_slave_ratio", _WRITE_DQS, 20, 128 + level),
        ("wr_data_slave_ratio", _WRITE_DATA, 20, 192 + level),
    ):
        yield expectation(
            f"{what} of lane {lane}", name, parameters, at(offset + 4 * lane, 0, width), value
        )


def _read_gate(lane: int, parameters: Parameters, mhz: float) -> Iterator[Expectation]:
    name = f"{P}BOARD_DELAY{lane}"
    delay = parameters.number(name)
    if delay is None or parameters.off(P + "TRAIN_READ_GATE"):
        return
    gate = math.floor(96 + 2 * delay * 256 * mhz / 1000)
    what = f"gatelvl_init_ratio of lane {lane}"
    yield expectation(what, name, parameters, at(_RATIOS + 4 * lane, 10, 10), gate)
    what = f"fifo_we_slave_ratio of lane {lane}"
    yield expectation(what, name, parameters, at(_FIFO_WE + 4 * lane, 0, 21), gate + 85)
