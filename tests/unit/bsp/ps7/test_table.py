# SPDX-License-Identifier: MIT
"""The start-up table: reading, writing as C, reading from an export, comparing with parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.bsp.ps7 import check as ps7_check
from builder.bsp.ps7 import table as ps7
from builder.errors import UserError
from tests.fixtures.product import ROOT

DATA = ROOT / "boards" / "Pynq-Z2" / "ps7"
TABLE = DATA / "arty-z7.registers.yaml"
PARAMETERS = DATA / "pynq-z2.parameters.yaml"

SMALL = """\
mio: [{maskwrite: [0xF8000738, 0x3FFF, 0x16E1]}]
pll: [{write: [0xF8000008, 0xDF0D]}, {maskpoll: [0xF800010C, 1]}]
clock: []
ddr: []
peripherals: [{maskdelay: [0xF8F00200, 1]}]
post_config: [{write: [0xF8000004, 0x767B]}]
"""


@pytest.fixture
def table() -> ps7.StartupTable:
    return ps7.read_table(TABLE)


@pytest.fixture
def parameters() -> dict[str, str]:
    return ps7_check.read_parameters(PARAMETERS)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "registers.yaml"
    path.write_text(text)
    return path


def test_reads_every_operation_of_the_board(table: ps7.StartupTable) -> None:
    sizes = {name: len(operations) for name, operations in table.sections.items()}
    assert sizes == {
        "pll": 25,
        "clock": 15,
        "ddr": 82,
        "mio": 72,
        "peripherals": 25,
        "post_config": 4,
    }


def test_registers_have_the_result_of_all_writes(table: ps7.StartupTable) -> None:
    registers = table.registers()
    # IO PLL: feedback divider 20, out of reset, not bypassed.
    assert registers[0xF8000108] == (0x14000, 0x7F011)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("clock: []", "clocks: []", "clocks: is not a section"),
        ("clock: []", "", "the section clock is missing"),
        ("clock: []", "clock: 1", ":3: clock: must be a list"),
        ("clock: []", "clock: [{poke: [0, 0]}]", ":3: clock.0: poke is not one of write,"),
        ("clock: []", "clock: [{write: [4]}]", "write takes the numbers [address, value]"),
        ("clock: []", "clock: [{write: [4, yes]}]", "write takes the numbers"),
        ("clock: []", "clock: [{write: [4, 1], maskpoll: [4, 1]}]", "must be one operation"),
        ("clock: []", "clock: [{write: [6, 1]}]", "address 0x00000006 is not a multiple of 4"),
        ("clock: []", "clock: [{write: [4, 0x100000000]}]", "is not a 32-bit number"),
        ("clock: []", "clock: [{maskwrite: [4, 0, 0]}]", "the mask is 0"),
        ("clock: []", "clock: [{maskwrite: [4, 1, 2]}]", "has bits outside its mask"),
        ("clock: []", "clock: [{maskdelay: [4, 1]}]", "global timer, 0xf8f00200"),
        ("clock: []", "clock: [", "not YAML"),
    ],
)
def test_the_message_names_the_fault(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        ps7.read_table(write(tmp_path, SMALL.replace(old, new)))
    assert complaint in "\n".join(caught.value.details)


def test_names_all_mistakes_at_once(tmp_path: Path) -> None:
    text = SMALL.replace("clock: []", "clock: [{write: [6, 1]}]").replace("ddr: []", "ddr: 1")
    with pytest.raises(UserError) as caught:
        ps7.read_table(write(tmp_path, text))
    assert len(caught.value.details) == 2


def test_missing_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be used"):
        ps7.read_table(tmp_path / "none.yaml")


def test_c_file_holds_the_table(table: ps7.StartupTable) -> None:
    text = ps7.render(table)
    assert text.startswith("// SPDX-License-Identifier: GPL-2.0-or-later\n")
    assert "#include <asm/arch/ps7_init_gpl.h>" in text
    assert "\tEMIT_MASKWRITE(0xf8000100, 0x0007f000, 0x0001a000),\n" in text
    # U-Boot counts delays in milliseconds.
    assert text.count("\tEMIT_MASKDELAY(0xf8f00200, 1),\n") == 3
    assert text.count("EMIT_") - text.count("EMIT_EXIT") == sum(1 for _ in table.operations())
    assert text.count("EMIT_EXIT(),\n};") == len(ps7.SECTIONS)
    assert text == ps7.render(ps7.read_table(TABLE))


def vivado_source(table: ps7.StartupTable) -> str:
    """Write a table in Vivado's format, with the other contents of its file."""
    parts = ['#include "ps7_init_gpl.h"\nint ps7_config(unsigned long *table) { return 0; }\n']
    for section in ps7.SECTIONS:
        name = "ps7_post_config" if section == "post_config" else f"ps7_{section}_init_data"
        lines = [
            f"    // .. FINISH: x = 0x1 EMIT_WRITE(0, 0)\n    EMIT_{each.kind.upper()}("
            + " ,".join(f"0X{number:08X}U" for number in each.operands)
            + "),"
            for each in table.sections[section]
        ]
        parts.append(f"unsigned long {name}_3_0[] = {{\n" + "\n".join(lines))
        parts.append("    //\n    EMIT_EXIT(),\n    //\n};\n")
        parts.append(f"unsigned long {name}_1_0[] = {{ EMIT_EXIT() }};\n")
    return "\n".join(parts)


def test_reads_the_table_out_of_a_c_file(table: ps7.StartupTable) -> None:
    found = ps7.read_source(vivado_source(table), origin="x")
    assert found.sections == table.sections


def test_c_file_without_a_table() -> None:
    with pytest.raises(UserError, match="has no table ps7_mio_init_data_3_0"):
        ps7.read_source("int main;", origin="x")


def test_table_fits_the_board(table: ps7.StartupTable, parameters: dict[str, str]) -> None:
    assert ps7_check.compare(table, parameters) == []


def test_a_table_may_leave_the_console_speed_to_u_boot(
    table: ps7.StartupTable, parameters: dict[str, str]
) -> None:
    sections = {
        name: tuple(each for each in operations if each.address & 0xFFFFF000 != 0xE0000000)
        for name, operations in table.sections.items()
    }
    silent = ps7.StartupTable(origin="no UART", sections=sections)
    assert 0xE0000018 in table.registers().keys() - silent.registers().keys()
    assert ps7_check.compare(silent, parameters) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"PCW_ACT_APU_PERIPHERAL_FREQMHZ": "666.666687"}, "CPU clock"),
        ({"PCW_APU_CLK_RATIO_ENABLE": "4:2:1"}, "CPU ratio"),
        ({"PCW_UIPARAM_ACT_DDR_FREQ_MHZ": "533.333374"}, "DDR clock"),
        ({"PCW_UIPARAM_DDR_BUS_WIDTH": "32 Bit"}, "DDR width"),
        ({"PCW_ACT_FPGA3_PERIPHERAL_FREQMHZ": "50.000000"}, "FPGA3 clock"),
        ({"PCW_MIO_20_IOTYPE": "HSTL 1.8V"}, "MIO 20 voltage"),
        ({"PCW_SD0_GRP_CD_IO": "MIO 0"}, "SD0 card detect"),
        ({"PCW_ENET0_RESET_IO": "MIO 11"}, "ENET0 reset on MIO 11"),
        ({"PCW_USB_RESET_POLARITY": "Active High"}, "USB0 reset on MIO 46"),
        ({"PCW_UART0_BAUD_RATE": "9600"}, "UART0 speed"),
        ({"PCW_ENET0_GRP_MDIO_IO": "MIO 50 .. 51"}, "MIO 50 multiplexer"),
        ({"PCW_SD1_PERIPHERAL_ENABLE": "1"}, "SD1 bus clock"),
    ],
)
def test_differences_are_found(
    table: ps7.StartupTable, parameters: dict[str, str], change: dict[str, str], what: str
) -> None:
    assert what in {each.what for each in ps7_check.compare(table, parameters | change)}


def test_another_crystal_changes_every_clock(
    table: ps7.StartupTable, parameters: dict[str, str]
) -> None:
    slower = parameters | {"PCW_CRYSTAL_PERIPHERAL_FREQMHZ": "33.333333"}
    found = [str(each) for each in ps7_check.compare(table, slower)]
    assert (
        "CPU clock: PCW_ACT_APU_PERIPHERAL_FREQMHZ says 650.000 MHz, but the table has 433.333 MHz"
        in found
    )
    assert (
        "UART0 speed: PCW_UART0_BAUD_RATE says 115200 baud, but the table has 76805 baud" in found
    )
