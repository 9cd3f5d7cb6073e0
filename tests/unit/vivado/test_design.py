# SPDX-License-Identifier: MIT
"""Block designs: the processing system of both families, interrupts along the wires."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import UserError
from builder.spec.models import Soc
from builder.vivado.design import Design, read_design
from builder.vivado.export import open_export
from builder.vivado.interrupts import Interrupt, interrupts
from builder.vivado.system import PeripheralKind, mio, read_system
from tests.fixtures.exports import PS, Part, hwh


def design_of(tmp_path: Path, text: str) -> Design:
    path = tmp_path / "a.hwh"
    path.write_text(text)
    return read_design(open_export(path))


def test_zynq(tmp_path: Path) -> None:
    design = design_of(tmp_path, hwh(Soc.ZYNQ, board="x.com:y:part0:1.0"))
    assert (design.part, design.board, design.vivado) == (
        "xc7z020clg400-1",
        "x.com:y:part0:1.0",
        "2024.1",
    )
    system = read_system(design)
    assert (system.memory, system.crystal, system.processor) == (((0, 512 << 20),), 50, 650)
    named = {each.name: each for each in system.peripherals}
    assert [*named] == ["UART 0", "SD 0", "Ethernet 0", "USB 0", "I2C 1"]
    assert named["Ethernet 0"].details == {"mdio": "MIO 52 .. 53", "reset": "MIO 9"}
    assert named["I2C 1"].in_logic
    assert not named["SD 0"].in_logic


def test_zynqmp(tmp_path: Path) -> None:
    design = design_of(tmp_path, hwh(Soc.ZYNQMP))
    assert design.part == "xczu7ev-ffvc1156-2"
    system = read_system(design)
    # 4 GB: two in the lower window, two in the upper.
    assert system.memory == ((0, 2 << 30), (0x8_0000_0000, 2 << 30))
    (usb,) = system.all_of(PeripheralKind.USB)
    assert usb.details["usb3"] == "GT Lane2"
    assert [each.details["slot"] for each in system.all_of(PeripheralKind.SD)] == ["SD 2.0", "eMMC"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"PCW_DDR_RAM_HIGHADDR": ""}, "no valid size of the memory"),
        ({"PCW_DDR_RAM_HIGHADDR": "0x12345"}, "no valid size of the memory"),
        ({"PCW_DDR_RAM_HIGHADDR": "much"}, "PCW_DDR_RAM_HIGHADDR is 'much', which is not a number"),
        ({"PCW_CRYSTAL_PERIPHERAL_FREQMHZ": "fast"}, "not a frequency in MHz"),
    ],
)
def test_what_it_cannot_do_without(
    tmp_path: Path, parameters: dict[str, str], message: str
) -> None:
    design = design_of(tmp_path, hwh(Soc.ZYNQ, parameters=parameters))
    with pytest.raises(UserError, match=message):
        read_system(design)


def test_pins() -> None:
    assert [mio(text) for text in ("MIO 9", "MIO 16 .. 27", "EMIO", "", "MIO 13 .. 16 21 22")] == [
        9,
        16,
        None,
        None,
        13,
    ]


def test_interrupts_are_followed_through_what_gathers_them(tmp_path: Path) -> None:
    found = interrupts(design_of(tmp_path, hwh(Soc.ZYNQ)))
    assert found == {
        ("leds", "ip2intc_irpt"): Interrupt(number=29, edge=False),
        ("dma", "mm2s_introut"): Interrupt(number=30, edge=False),
        ("bus", "iic2intc_irpt"): Interrupt(number=31, edge=False),
        ("filter", "done"): Interrupt(number=32, edge=True),
        ("steps", "interrupt"): Interrupt(number=0, edge=False, controller="late"),
    }
    found = interrupts(design_of(tmp_path, hwh(Soc.ZYNQMP)))
    assert found["filter", "done"].number == 92


def test_interrupts_that_begin_at_the_upper_end(tmp_path: Path) -> None:
    text = hwh(Soc.ZYNQ, parameters={"PCW_IRQ_F2P_MODE": "REVERSE"})
    found = interrupts(design_of(tmp_path, text))
    # Four wires: the last one is 91 of the GIC.
    assert [found[each].number for each in (("leds", "ip2intc_irpt"), ("filter", "done"))] == [
        56,
        59,
    ]


def test_wide_inputs_slices_and_constants(tmp_path: Path) -> None:
    parts = {
        "wide": Part(kind="my_block", outputs={"irq": "LEVEL_HIGH"}),
        "pair": Part(kind="my_pair", outputs={"irq[2]": "LEVEL_HIGH"}),
        "both": Part(
            kind="xlconcat",
            parameters={"NUM_PORTS": "2", "IN0_WIDTH": "2", "IN1_WIDTH": "1"},
            inputs={"In0[2]": "pair.irq", "In1": "wide.irq"},
            outputs={"dout[3]": ""},
        ),
        "upper": Part(
            kind="xlslice",
            parameters={"DIN_FROM": "2", "DIN_TO": "2"},
            inputs={"Din[3]": "both.dout"},
            outputs={"Dout": ""},
        ),
        "zero": Part(kind="xlconstant", outputs={"dout": ""}),
        "irqs": Part(
            kind="xlconcat",
            parameters={"NUM_PORTS": "3"},
            inputs={"In0": "zero.dout", "In1": "upper.Dout", "In2": "nobody.x"},
            outputs={"dout[4]": ""},
        ),
    }
    found = interrupts(design_of(tmp_path, hwh(Soc.ZYNQ, parts=parts)))
    assert found["wide", "irq"].number == 30


def test_wires_in_a_circle_end(tmp_path: Path) -> None:
    parts = {
        "irqs": Part(
            kind="xlconcat",
            parameters={"NUM_PORTS": "1"},
            inputs={"In0": "irqs.dout"},
            outputs={"dout[4]": ""},
        )
    }
    assert interrupts(design_of(tmp_path, hwh(Soc.ZYNQ, parts=parts))) == {}


def test_the_processing_system_is_a_block_too(tmp_path: Path) -> None:
    assert PS in design_of(tmp_path, hwh(Soc.ZYNQ)).blocks
