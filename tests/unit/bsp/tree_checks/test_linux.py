# SPDX-License-Identifier: MIT
"""Comparison of a board's device tree with Linux's tree of the same board."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from builder.bsp.tree_checks.linux import findings, same_board
from builder.formats.devicetree import DeviceTree

LINUX = """\
/dts-v1/;
/ {
    compatible = "avnet,zynq-zed", "xlnx,zynq-7000";
    clkc: clock { #clock-cells = <1>; };
    gpio: gpio { #gpio-cells = <2>; };
    phy: phy { };
    axi {
        usb@e0002000 { clocks = <&clkc 28>; usb-phy = <&phy>; reset-gpios = <&gpio 46 1>; };
        mmc@e0100000 { max-frequency = <50>; };
    };
};
"""
CHANGES = [
    ("usb-phy = <&phy>;", "", "/axi/usb@e0002000 usb-phy"),
    ("<&clkc 28>", "<&clkc 29>", "/axi/usb@e0002000 clocks"),
    ("<&gpio 46 1>", "<&gpio 46 0>", "/axi/usb@e0002000 reset-gpios"),
    ("usb-phy = <&phy>", "usb-phy = <&gpio>", "/axi/usb@e0002000 usb-phy"),
    ("<50>", "<25>", "/axi/mmc@e0100000 max-frequency"),
    ("max-frequency = <50>;", 'max-frequency = <50>; status = "okay";', "/axi/mmc@e0100000 status"),
    ("phy: phy { };", "phy: phy { }; new { a { b; }; };", "/new"),
    ("mmc@e0100000 { max-frequency = <50>; };", "", "/axi/mmc@e0100000"),
]


def names(own: DeviceTree, theirs: DeviceTree) -> list[str]:
    return [each.name for each in findings(own, theirs, name="zynq-zed.dts", source="b.dts")]


def test_numbers_of_references_are_no_difference(compiled: Callable[[str], DeviceTree]) -> None:
    # Another reference before them changes all phandles.
    other = LINUX.replace("    clkc:", "    x: x { y = <&x>; };\n    clkc:")
    assert names(compiled(other), compiled(LINUX)) == ["linux: /x"]


@pytest.mark.parametrize(("old", "new", "subject"), CHANGES)
def test_a_change_is_found(
    compiled: Callable[[str], DeviceTree], old: str, new: str, subject: str
) -> None:
    assert old in LINUX
    assert names(compiled(LINUX.replace(old, new)), compiled(LINUX)) == [f"linux: {subject}"]


def test_a_finding_has_both_values(compiled: Callable[[str], DeviceTree]) -> None:
    own = compiled(LINUX.replace("<&clkc 28>", "<&clkc 29>"))
    (found,) = findings(own, compiled(LINUX), name="zynq-zed.dts", source="devicetree/b.dts")
    what = 'clocks of /axi/usb@e0002000 is "/clock 29", and "/clock 28" in'
    assert what in found.text
    assert "correct devicetree/b.dts" in found.text


def test_the_same_board_has_the_same_first_compatible(
    compiled: Callable[[str], DeviceTree],
) -> None:
    own = compiled(LINUX)
    others = {
        "zynq-zc702": compiled(LINUX.replace("avnet,zynq-zed", "xlnx,zynq-zc702")),
        "zynq-zed": compiled(LINUX),
    }
    assert same_board(own, others) == "zynq-zed"
    overlay = compiled(LINUX.replace("gpio: gpio {", "fragment@0 { }; gpio: gpio {"))
    assert same_board(own, {"zynq-zed-card": overlay}) is None
    new = compiled(LINUX.replace('"avnet,zynq-zed", ', ""))
    assert same_board(new, others) is None
