# SPDX-License-Identifier: MIT
"""The overlay of the programmable logic: drivers, UIO devices, and limitations of the kernel."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from builder.board_generator.logic import Logic, describe
from builder.errors import UserError
from builder.spec.models import Soc
from builder.vivado.design import read_design
from builder.vivado.export import open_export
from tests.fixtures.exports import Part, hwh

BASE = """\
/dts-v1/;
/ {
    #address-cells = <%d>;
    #size-cells = <%d>;
    gic: intc: interrupt-controller { #interrupt-cells = <3>; interrupt-controller; };
    i2c1: i2c { status = "disabled"; };
    fabric@40000000 { reg = <0x40000000 0>; };
    fabric@a0000000 { reg = <0xa0000000 0>; };
};
"""


def logic_of(tmp_path: Path, text: str, *enable: str) -> Logic:
    path = tmp_path / "a.hwh"
    path.write_text(text)
    return describe(read_design(open_export(path)), enable=enable)


def node(overlay: str, label: str) -> str:
    found = re.search(rf"^(\t*){label}: .*?^\1\}};", overlay, re.MULTILINE | re.DOTALL)
    assert found, overlay
    return found[0]


def merged(tmp_path: Path, overlay: str, cells: int) -> str:
    """Return the source of a board's tree with the overlay applied."""

    def dtc(source: Path, target: Path, *flags: str) -> None:
        subprocess.run(["dtc", "-q", *flags, "-O", "dtb", "-o", target, source], check=True)

    base, laid = tmp_path / "base.dts", tmp_path / "o.dtso"
    base.write_text(BASE % (cells, cells))
    laid.write_text(overlay)
    dtc(base, tmp_path / "base.dtb", "-@")
    dtc(laid, tmp_path / "o.dtbo")
    trees = [tmp_path / "base.dtb", tmp_path / "o.dtbo"]
    subprocess.run(["fdtoverlay", "-i", trees[0], "-o", tmp_path / "all.dtb", trees[1]], check=True)
    return subprocess.run(
        ["dtc", "-q", "-I", "dtb", "-O", "dts", tmp_path / "all.dtb"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.mark.parametrize(("soc", "cells"), [(Soc.ZYNQ, 1), (Soc.ZYNQMP, 2)])
def test_the_overlay_fits_a_tree(tmp_path: Path, soc: Soc, cells: int) -> None:
    logic = logic_of(tmp_path, hwh(soc), "i2c1")
    tree = merged(tmp_path, logic.overlay, cells)
    base = {Soc.ZYNQ: 0x41200000, Soc.ZYNQMP: 0x80000000}[soc]
    # The kernel makes devices of nodes that an overlay adds to a bus which is there: the root.
    assert f"\n\tgpio@{base:x} {{" in tree
    assert re.search(r"i2c \{\s*status = \"okay\"", tree)
    fabric = {Soc.ZYNQ: "fabric@40000000", Soc.ZYNQMP: "fabric@a0000000"}[soc]
    assert re.search(rf"{fabric} \{{[^}}]*status = \"disabled\"", tree), "a block has its interrupt"


def test_blocks_and_their_drivers(tmp_path: Path) -> None:
    logic = logic_of(tmp_path, hwh(Soc.ZYNQ))
    assert {each.block.instance: (each.driver, each.interrupt) for each in logic.blocks} == {
        "leds": ("xlnx,xps-gpio-1.00.a", 29),
        "dma": ("xlnx,axi-dma-1.00.a", 30),
        "bus": ("xlnx,xps-iic-2.00.a", 31),
        "filter": ("generic-uio", 32),
        "steps": ("generic-uio", None),
        "servo": ("xlnx,xps-timer-1.00.a", None),
    }
    notes = {each.block.instance: each.note for each in logic.blocks if each.note}
    assert notes == {"steps": "its interrupt goes to late"}


def test_what_a_driver_is_told(tmp_path: Path) -> None:
    overlay = logic_of(tmp_path, hwh(Soc.ZYNQ)).overlay
    leds = node(overlay, "pl_leds")
    assert "xlnx,gpio-width = <0x4>;" in leds
    assert "xlnx,tri-default = <0xffffffff>;" in leds
    assert "gpio2" not in leds, "a parameter that the block does not have"
    assert "interrupt-parent = <&intc>;\n\t\tinterrupts = <0 29 4>;" in leds
    assert "interrupt-controller;" in leds
    dma = node(overlay, "pl_dma")
    assert "clocks = <&clock_100000000>, <&clock_150000000>;" in dma
    assert "dma-channel-mm2s {" in dma
    assert "s2mm" not in dma
    assert "interrupts = <0 32 1>;" in node(overlay, "pl_filter"), "by its edge"
    assert 'linux,uio-name = "filter";' in overlay


def test_a_controller_on_the_first_line_leaves_it_to_fabric(tmp_path: Path) -> None:
    parts = {
        "intc": Part(
            kind="axi_intc",
            inputs={"intr": "leds.ip2intc_irpt"},
            outputs={"irq": "LEVEL_HIGH"},
            base=0x41800000,
        ),
        "leds": Part(kind="axi_gpio", outputs={"ip2intc_irpt": "LEVEL_HIGH"}, base=0x41200000),
        "bus": Part(kind="axi_iic", outputs={"iic2intc_irpt": "LEVEL_HIGH"}, base=0x41600000),
        "irqs": Part(
            kind="xlconcat",
            parameters={"NUM_PORTS": "1"},
            inputs={"In0": "intc.irq"},
            outputs={"dout[4]": ""},
        ),
    }
    logic = logic_of(tmp_path, hwh(Soc.ZYNQ, parts=parts))
    assert "fabric@" not in logic.overlay
    assert "interrupts" not in logic.overlay
    found = {each.block.instance: each for each in logic.blocks}
    assert (found["intc"].uio, found["leds"].uio, found["bus"].uio) == (True, False, True)
    assert "needs iic2intc_irpt, which is not connected" in found["bus"].note
    # Its label is not that of the processing system's controller.
    assert "\tpl_intc: intc@41800000 {" in logic.overlay
    merged(tmp_path, logic.overlay, 1)


def test_several_ranges_and_names_that_are_none_of_nodes(tmp_path: Path) -> None:
    parts = {"1_Odd-name_that_is_longer_than_a_name_may_be": Part(kind="mine", base=0x43C00000)}
    text = hwh(Soc.ZYNQ, parts=parts)
    (line,) = re.findall(r"<MEMRANGE.*?/>", text)
    text = text.replace(line, line + line.replace("43C0", "43D0"))
    logic = logic_of(tmp_path, text)
    assert "reg = <0x43c00000 0x10000>, <0x43d00000 0x10000>;" in logic.overlay
    (name,) = re.findall(r"pl_1_Odd_name_\w+: ([\w-]+)@43c00000", logic.overlay)
    assert name.startswith("b-1-odd-name")
    assert len(name) <= 31
    merged(tmp_path, logic.overlay, 1)


def test_no_logic_no_overlay(tmp_path: Path) -> None:
    logic = logic_of(tmp_path, hwh(Soc.ZYNQ, parts={}))
    assert (logic.blocks, logic.overlay) == ((), "")
    assert "&i2c1" in logic_of(tmp_path, hwh(Soc.ZYNQ, parts={}), "i2c1").overlay


def test_a_parameter_that_is_no_number(tmp_path: Path) -> None:
    parts = {"leds": Part(kind="axi_gpio", parameters={"C_GPIO_WIDTH": "four"}, base=0x41200000)}
    with pytest.raises(UserError, match="block leds: C_GPIO_WIDTH is 'four'"):
        logic_of(tmp_path, hwh(Soc.ZYNQ, parts=parts))
