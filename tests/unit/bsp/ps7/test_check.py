# SPDX-License-Identifier: MIT
"""Start-up tables and Vivado's parameters: genuine exports, and exports with one change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.bsp.ps7 import check as ps7_check
from builder.bsp.ps7 import clocks as ps7_clocks
from builder.bsp.ps7 import ddr as ps7_ddr
from builder.bsp.ps7 import mio as ps7_mio
from builder.bsp.ps7 import table as ps7
from builder.bsp.ps7.fields import Field, Parameters, Registers, pins
from tests.fixtures.product import ROOT

DATA = ROOT / "tests" / "data" / "ps7"
COMMON = DATA / "common.parameters.yaml"
PAIRS = sorted(path.stem for path in DATA.glob("*.yaml") if path != COMMON)
# Two crystals; 16 and 32 bits; DDR3 and DDR3L; NAND, EMIO, a custom memory part, and both ways in
# which Vivado rounds 533.33 MHz.
VARIED = (
    "AlbertaSat_ex3_zybo_obc_petalinux__f5bfe682",
    "E-Elements-tw_Pynq-Z2-platform__b2ce8b94",
    "LapinBIanc_Optical-Mark-Reader__3b8381b6",
    "benglenett_Embedded__043e6c00",
    "shhx_ebaz4205_petalinux__6cc70faa",
    "wknitter_dual_arm_zynq__e6a33d29",
)
MIO = 0xF8000700
PINS = range(MIO, MIO + 4 * 54, 4)
# Lowest bit and width of the fields of a pin.
PIN_FIELDS = ((0, 1), (1, 7), (8, 1), (9, 3), (12, 1), (13, 1))
CLOCKS = [
    *((pll, 12, 7) for pll in (0xF8000100, 0xF8000104, 0xF8000108)),
    *(
        (pll, low, width)
        for pll in (0xF8000110, 0xF8000114, 0xF8000118)
        for low, width in ((4, 4), (8, 4), (12, 10))
    ),
    (0xF8000120, 8, 6),
    (0xF8000124, 0, 2),
    (0xF8000124, 20, 6),
    (0xF8000124, 26, 6),
    (0xF8000128, 8, 6),
    (0xF8000128, 20, 6),
    *((clock, 8, 6) for clock in range(0xF8000140, 0xF800016C, 4) if clock != 0xF8000160),
    *((clock, 20, 6) for clock in (0xF8000140, 0xF8000144, 0xF800015C)),
    *((clock, low, 6) for clock in range(0xF8000170, 0xF80001B0, 16) for low in (8, 20)),
    (0xF80001C4, 0, 1),
]
# By the register's offset: lowest bit and width of each field.
DDR = {
    0x000: ((2, 2),),
    0x004: ((0, 12),),
    0x014: ((0, 6), (6, 8), (14, 7)),
    0x018: ((0, 5), (5, 5), (10, 6), (16, 6), (22, 5), (28, 4)),
    0x01C: ((0, 5), (5, 5), (10, 5), (15, 5), (23, 5), (28, 4)),
    0x020: ((2, 3), (5, 3), (8, 4), (12, 4), (16, 5), (24, 5)),
    0x028: ((0, 7), (7, 4), (11, 3)),
    0x02C: ((3, 3),),
    0x030: ((4, 3), (9, 3)),
    0x034: ((0, 4), (4, 10), (16, 10)),
    0x03C: ((0, 4), (4, 4), (8, 4)),
    0x040: ((0, 32),),
    0x044: tuple((low, 4) for low in range(0, 28, 4)),
    0x05C: ((0, 4), (12, 4)),
    0x068: ((0, 8), (8, 8), (16, 10)),
    0x078: ((12, 4), (16, 4), (20, 6)),
    0x07C: tuple((low, 4) for low in range(0, 20, 4)),
    0x0A4: ((2, 10), (12, 10), (22, 10)),
    0x0A8: ((0, 20), (20, 8)),
    0x0B0: ((26, 1), (27, 1), (28, 1)),
    0x0B8: ((0, 5), (5, 10), (15, 10)),
    **{0x118 + 4 * lane: ((0, 1),) for lane in range(4)},
    **{0x12C + 4 * lane: ((0, 10), (10, 10)) for lane in range(4)},
    **{0x140 + 4 * lane: ((0, 10),) for lane in range(4)},
    **{0x154 + 4 * lane: ((0, 10),) for lane in range(4)},
    **{0x168 + 4 * lane: ((0, 11),) for lane in range(4)},
    **{0x17C + 4 * lane: ((0, 10),) for lane in range(4)},
}
COVERED = [
    *(Field(register=register, low=low, width=width) for register, low, width in CLOCKS),
    *(Field(register=pin, low=low, width=width) for pin in PINS for low, width in PIN_FIELDS),
    *(
        Field(register=0xF8006000 + offset, low=low, width=width)
        for offset, fields in DDR.items()
        for low, width in fields
    ),
]


@cache
def parsed(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    return found


@cache
def pair(name: str) -> tuple[ps7.StartupTable, dict[str, str]]:
    """The table and the parameters of one export."""
    data = parsed(DATA / f"{name}.yaml")
    sections = {
        section: tuple(
            ps7.Operation(kind=kind, operands=tuple(operands))
            for each in operations
            for kind, operands in each.items()
        )
        for section, operations in data["registers"].items()
    }
    table = ps7.StartupTable(origin=name, sections=sections)
    return table, {**parsed(COMMON), **data["parameters"]}


def changed(table: ps7.StartupTable, field: Field, difference: int) -> ps7.StartupTable | None:
    """The table with some bits of a field inverted in the last operation that writes it."""
    for section in reversed(ps7.SECTIONS):
        operations = list(table.sections[section])
        for index in reversed(range(len(operations))):
            operation = operations[index]
            if operation.kind not in {"write", "maskwrite"} or operation.address != field.register:
                continue
            mask = operation.operands[1] if operation.kind == "maskwrite" else 0xFFFFFFFF
            if mask & field.mask != field.mask:
                continue
            *start, value = operation.operands
            operands = (*start, value ^ (difference << field.low))
            operations[index] = ps7.Operation(kind=operation.kind, operands=operands)
            return ps7.StartupTable(
                origin=table.origin, sections={**table.sections, section: tuple(operations)}
            )
    return None


def one_thing_changed(
    table: ps7.StartupTable, fields: Iterable[Field] = COVERED
) -> Iterator[tuple[str, ps7.StartupTable]]:
    """The table with one field changed, for each that it writes: first bit, of numbers the last."""
    for field in fields:
        last = 1 if field.register in PINS else 1 << (field.width - 1)
        for difference in {1, last}:
            other = changed(table, field, difference)
            if other:
                yield f"{field} ^ {difference:#x}", other


@pytest.mark.parametrize("name", PAIRS)
def test_a_genuine_export_fits_its_own_parameters(name: str) -> None:
    table, parameters = pair(name)
    assert ps7_check.compare(table, parameters) == []


@pytest.mark.parametrize("name", VARIED)
def test_one_changed_field_is_refused_with_the_parameter(name: str) -> None:
    table, parameters = pair(name)
    comparison = ps7_check.Comparison(parameters)
    tried = 0
    # To save time, each pair tests another sixth of the pins, whose rules are the same, and every
    # other change of the rest.
    index = VARIED.index(name)
    pins = PINS[index :: len(VARIED)]
    fields = [each for each in COVERED if each.register in pins or each.register not in PINS]
    for change, other in islice(one_thing_changed(table, fields), index % 2, None, 2):
        found = comparison.mismatches(other)
        assert found, change
        for mismatch in found:
            assert mismatch.parameter in parameters, change
            assert f": {mismatch.parameter} says " in str(mismatch)
        tried += 1
    assert tried > 100


@pytest.mark.parametrize("name", VARIED[4:5])
def test_each_rule_names_its_own_parameter(name: str) -> None:
    table, parameters = pair(name)
    registers, known = Registers(table), Parameters(parameters)
    comparison = ps7_check.Comparison(parameters)
    rules = [
        *ps7_clocks.expected(known),
        *ps7_clocks.dependent(registers, known),
        *ps7_mio.expected(known),
        *ps7_ddr.expected(known, ps7_ddr.memory_clock(known)),
    ]
    tried = set()
    for rule in rules:
        value = registers.field(rule.field)
        # Several values of a clock source have the same meaning: the lowest bit does not matter.
        difference = next(each for each in (1, 2, 4) if (value or 0) ^ each not in rule.values)
        other = changed(table, rule.field, difference) if value is not None else None
        if other:
            tried.add(rule.field)
            found = {each.parameter for each in comparison.mismatches(other)}
            assert rule.parameter in found, rule.what
    assert len(tried) > 400


@pytest.mark.parametrize(
    ("name", "field", "difference", "message"),
    [
        (
            "AlbertaSat_ex3_zybo_obc_petalinux__f5bfe682",
            Field(register=0xF8006014, low=0, width=6),
            1,
            (
                "DDR t_rc: PCW_UIPARAM_DDR_T_RC says 48.75, which is 27 (0x1b) in 0xf8006014 bits 5:0, "
                "but the table has 26 (0x1a)"
            ),
        ),
        (
            "E-Elements-tw_Pynq-Z2-platform__b2ce8b94",
            Field(register=MIO + 4 * 16, low=9, width=3),
            2,
            (
                "MIO 16 voltage: PCW_MIO_16_IOTYPE says LVCMOS 1.8V, which is 1 in 0xf8000740 bits "
                "11:9, but the table has 3, which is LVCMOS 3.3V"
            ),
        ),
        (
            "E-Elements-tw_Pynq-Z2-platform__b2ce8b94",
            Field(register=0xF8000154, low=8, width=6),
            1,
            (
                "UART divider 0: PCW_UART_PERIPHERAL_DIVISOR0 says 10, which is 10 (0xa) in "
                "0xf8000154 bits 13:8, but the table has 11 (0xb)"
            ),
        ),
        (
            "LapinBIanc_Optical-Mark-Reader__3b8381b6",
            Field(register=0xF8006168, low=0, width=11),
            1,
            (
                "DDR fifo_we_slave_ratio of lane 0: PCW_UIPARAM_DDR_BOARD_DELAY0 says 0.41, which is "
                "292 (0x124) in 0xf8006168 bits 20:0, but the table has 293 (0x125)"
            ),
        ),
    ],
)
def test_differences_have_a_place(name: str, field: Field, difference: int, message: str) -> None:
    table, parameters = pair(name)
    other = changed(table, field, difference)
    assert other
    assert message in [str(each) for each in ps7_check.compare(other, parameters)]


def test_a_register_that_is_left_out_is_refused() -> None:
    table, parameters = pair(VARIED[1])
    sections = {
        section: tuple(each for each in operations if each.address != MIO + 4 * 16)
        for section, operations in table.sections.items()
    }
    found = ps7_check.compare(ps7.StartupTable(origin="", sections=sections), parameters)
    assert [each.what for each in found] == [
        "MIO 16 multiplexer",
        "MIO 16 slew rate",
        "MIO 16 voltage",
        "MIO 16 pull-up",
    ]
    assert {each.table for each in found} == {"does not set it"}


def test_a_value_that_is_wrong_only_at_first_is_refused() -> None:
    table, parameters = pair(VARIED[1])
    first, *rest = table.sections["ddr"]
    assert first.operands == (0xF8006000, 0x1FFFF, 0x84)
    wide = ps7.Operation(kind="maskwrite", operands=(0xF8006000, 0x1FFFF, 0x80))
    sections = {**table.sections, "ddr": (wide, *rest)}
    found = ps7_check.compare(ps7.StartupTable(origin="", sections=sections), parameters)
    assert [each.what for each in found] == ["DDR width"]


@pytest.mark.parametrize(
    "change",
    [
        # Values of disabled peripherals, or of clocks from elsewhere.
        {"PCW_FPGA_FCLK0_ENABLE": "0", "PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ": "10.000000"},
        {"PCW_EN_CLK0_PORT": "0", "PCW_FCLK0_PERIPHERAL_DIVISOR0": "1"},
        {"PCW_SDIO_PERIPHERAL_VALID": "0", "PCW_ACT_SDIO_PERIPHERAL_FREQMHZ": "10.000000"},
        {"PCW_QSPI_PERIPHERAL_ENABLE": "0", "PCW_QSPI_PERIPHERAL_DIVISOR0": "1"},
        {"PCW_ACT_UART_PERIPHERAL_FREQMHZ": "-1"},
        {"PCW_MIO_16_IOTYPE": "<Select>", "PCW_MIO_16_SLEW": "<Select>"},
        {"PCW_PLL_BYPASSMODE_ENABLE": "1", "PCW_ACT_APU_PERIPHERAL_FREQMHZ": "25"},
        # Memory of which only the bus width is known.
        {"PCW_UIPARAM_DDR_MEMORY_TYPE": "DDR 2", "PCW_UIPARAM_DDR_T_RC": "60"},
        {"PCW_UIPARAM_DDR_MEMORY_TYPE": "LPDDR 2", "PCW_UIPARAM_DDR_CL": "8"},
        {"PCW_UIPARAM_DDR_ENABLE": "0", "PCW_UIPARAM_DDR_BUS_WIDTH": "32 Bit"},
        {"PCW_UIPARAM_DDR_DEVICE_CAPACITY": "8192 MBits"},
        {"PCW_UIPARAM_DDR_HIGH_TEMP": "High (95 Max)"},
        {"PCW_UIPARAM_DDR_BL": "4", "PCW_UIPARAM_DDR_T_FAW": "60"},
    ],
)
def test_disabled_or_unknown_settings_are_not_compared(change: dict[str, str]) -> None:
    table, parameters = pair("E-Elements-tw_Pynq-Z2-platform__b2ce8b94")
    assert ps7_check.compare(table, {**parameters, **change}) == []


@pytest.mark.parametrize(("source", "fits"), [(0, True), (4, True), (3, False)])
def test_ethernet_through_emio_may_have_its_clock_from_there(source: int, *, fits: bool) -> None:
    table, parameters = pair("shhx_ebaz4205_petalinux__6cc70faa")
    field = Field(register=0xF8000140, low=4, width=3)
    assert Registers(table).field(field) == 4
    other = changed(table, field, source ^ 4)
    assert other
    found = ps7_check.compare(other, {**parameters, "PCW_ENET0_PERIPHERAL_CLKSRC": "IO PLL"})
    whats = [each.what for each in found]
    assert ("ENET0 clock source" not in whats) is fits


def test_a_slave_select_that_is_off_leaves_its_pin_to_others() -> None:
    table, parameters = pair(VARIED[0])
    assert pins(parameters["PCW_SPI1_SPI1_IO"]) == [10, 11, 12, 13, 14, 15]
    assert parameters["PCW_MIO_TREE_PERIPHERALS"].split("#")[14] == "I2C 0"
    signals = parameters["PCW_MIO_TREE_SIGNALS"].split("#")
    signals[13] = "gpio[13]"
    free = {**parameters, "PCW_MIO_TREE_SIGNALS": "#".join(signals)}
    found = ps7_check.compare(table, free)
    assert [each.what for each in found] == ["MIO 13 multiplexer"]
    assert found[0].parameters.startswith("gpio[13], which is 0")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MIO 9", [9]),
        ("MIO 16 .. 19", [16, 17, 18, 19]),
        ("MIO 0 2.. 5", [0, 2, 3, 4, 5]),
        ("MIO 0 9 .. 11", [0, 9, 10, 11]),
        ("EMIO", []),
        ("<Select>", []),
        ("0", []),
        ("", []),
    ],
)
def test_pins_of_a_parameter(text: str, found: list[int]) -> None:
    assert pins(text) == found


def test_a_reset_line_whose_output_is_off_is_refused() -> None:
    table, parameters = pair("E-Elements-tw_Pynq-Z2-platform__b2ce8b94")
    other = changed(table, Field(register=0xE000A208, low=9, width=1), 1)
    assert other
    found = ps7_check.compare(other, parameters)
    assert [each.parameter for each in found] == ["PCW_ENET0_RESET_IO"]


@pytest.mark.parametrize(("divider", "wrong"), [(29, 0), (31, 2), (66, 2), (13, 2)])
def test_lock_settings_go_with_the_feedback_divider(divider: int, wrong: int) -> None:
    table, parameters = pair(VARIED[0])
    # The table has those of 29 and 30; other dividers have different ones (UG585, table 25-6).
    assert parameters["PCW_IOPLL_CTRL_FBDIV"] == "30"
    found = ps7_check.compare(table, {**parameters, "PCW_IOPLL_CTRL_FBDIV": str(divider)})
    names = {"IO PLL PLL_CP", "IO PLL PLL_RES", "IO PLL LOCK_CNT"}
    assert len([each for each in found if each.what in names]) == wrong


def test_one_changed_field_of_a_boards_table_is_refused() -> None:
    folder = ROOT / "boards" / "Pynq-Z2" / "ps7"
    table = ps7.read_table(folder / "arty-z7.registers.yaml")
    parameters = ps7_check.read_parameters(folder / "pynq-z2.parameters.yaml")
    comparison = ps7_check.Comparison(parameters)
    missed = [
        change for change, other in one_thing_changed(table) if not comparison.mismatches(other)
    ]
    assert missed == []


def test_mismatches_name_file_and_line_of_the_parameter(tmp_path: Path) -> None:
    table, _ = pair(VARIED[0])
    path = tmp_path / "b.parameters.yaml"
    path.write_text("# A board.\nPCW_UIPARAM_DDR_BUS_WIDTH: 16 Bit\n")
    found = ps7_check.compare(table, ps7_check.read_parameters(path))
    (detail,) = ps7_check.located(found, path)
    assert detail.startswith(f"{path}:2: DDR width: PCW_UIPARAM_DDR_BUS_WIDTH says 16 Bit")
