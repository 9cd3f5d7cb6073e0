# SPDX-License-Identifier: MIT
"""Check of peripherals that are enabled in a design and disabled in the device tree."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from builder.bsp.tree_checks.design import EnabledPeripherals, findings, pin_findings
from builder.formats.devicetree import DeviceTree
from builder.spec.models import Soc
from builder.vivado.system import peripherals
from tests.fixtures.exports import ZYNQ, ZYNQMP

ZYNQ_TREE = """\
/dts-v1/;
/ {
    axi {
        uart0: serial@e0000000 { status = "okay"; };
        usb0: usb@e0002000 { status = "okay"; };
        i2c0: i2c@e0004000 { status = "disabled"; };
        i2c1: i2c@e0005000 { status = "%s"; };
        gpio0: gpio@e000a000 { };
        gem0: ethernet@e000b000 { status = "okay"; };
        sdhci0: mmc@e0100000 { status = "okay"; };
    };
};
"""
ZYNQMP_TREE = """\
/dts-v1/;
/ {
    axi {
        serial@ff010000 { };
        mmc@ff160000 { };
        mmc@ff170000 { };
        ethernet@ff0b0000 { };
        usb@ff9d0000 { status = "%s"; usb@fe200000 { }; };
    };
};
"""
OVERLAY = """\
/dts-v1/;
/plugin/;
&%s { status = "okay"; };
"""


def wanted(
    parameters: dict[str, str], soc: Soc = Soc.ZYNQ, origin: str = "design base"
) -> EnabledPeripherals:
    return EnabledPeripherals(origin=origin, soc=soc, peripherals=peripherals(soc, parameters))


def names(
    tree: DeviceTree, *designs: EnabledPeripherals, overlays: list[DeviceTree] | None = None
) -> list[str]:
    return [each.name for each in findings(tree, overlays or [], designs, source="b.dts")]


def test_a_tree_with_all_that_the_design_has_on_is_right(
    compiled: Callable[[str], DeviceTree],
) -> None:
    assert names(compiled(ZYNQ_TREE % "okay"), wanted(ZYNQ)) == []


def test_a_peripheral_that_is_off_in_the_tree_is_found(
    compiled: Callable[[str], DeviceTree],
) -> None:
    tree = compiled(ZYNQ_TREE % "disabled")
    (found,) = findings(tree, [], [wanted(ZYNQ)], source="devicetree/b.dts")
    assert found.name == "design: i2c@e0005000"
    assert found.text.startswith(
        "design base: I2C 1 (EMIO) is enabled, but /axi/i2c@e0005000 is disa"
    )
    assert "/dev/i2c-N and the devices" in found.text, "what it means on the board"
    assert found.text.endswith("in devicetree/b.dts"), "where to mend it"


def test_a_peripheral_of_several_designs_is_one_finding(
    compiled: Callable[[str], DeviceTree],
) -> None:
    tree = compiled(ZYNQ_TREE % "disabled")
    (found,) = findings(tree, [], [wanted(ZYNQ), wanted(ZYNQ, origin="b.xsa")], source="b.dts")
    assert found.text.startswith("design base and b.xsa: I2C 1")


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("PCW_CAN0_PERIPHERAL_ENABLE", "@e0008000"),
        ("PCW_QSPI_PERIPHERAL_ENABLE", "@e000d000"),
        ("PCW_TTC1_PERIPHERAL_ENABLE", "@f8002000"),
        ("PCW_WDT_PERIPHERAL_ENABLE", "@f8005000"),
        ("PCW_SPI1_PERIPHERAL_ENABLE", "@e0007000"),
    ],
)
def test_a_peripheral_without_a_node_is_found(
    compiled: Callable[[str], DeviceTree], name: str, node: str
) -> None:
    tree = compiled(ZYNQ_TREE % "okay")
    assert names(tree, wanted({**ZYNQ, name: "1"})) == [f"design: {node}"]


def test_gpio_is_on_without_a_status(compiled: Callable[[str], DeviceTree]) -> None:
    tree = compiled(ZYNQ_TREE % "okay")
    assert names(tree, wanted({**ZYNQ, "PCW_GPIO_EMIO_GPIO_ENABLE": "1"})) == []


@pytest.mark.parametrize(("label", "left"), [("i2c1", []), ("i2c0", ["design: i2c@e0005000"])])
def test_an_overlay_may_enable_a_peripheral_in_the_logic(
    compiled: Callable[[str], DeviceTree], label: str, left: list[str]
) -> None:
    tree = compiled(ZYNQ_TREE % "disabled")
    assert names(tree, wanted(ZYNQ), overlays=[compiled(OVERLAY % label)]) == left


def test_an_overlay_does_not_enable_peripherals_on_pins(
    compiled: Callable[[str], DeviceTree],
) -> None:
    parameters = {**ZYNQ, "PCW_I2C1_I2C1_IO": "MIO 12 .. 13"}
    tree = compiled(ZYNQ_TREE % "disabled")
    overlays = [compiled(OVERLAY % "i2c1")]
    assert names(tree, wanted(parameters), overlays=overlays) == ["design: i2c@e0005000"]


@pytest.mark.parametrize(("status", "left"), [("okay", []), ("disabled", ["design: usb@e0002000"])])
def test_the_transceiver_of_a_usb_port_is_not_its_controller(
    compiled: Callable[[str], DeviceTree], status: str, left: list[str]
) -> None:
    phy = 'phy0@e0002000 { compatible = "ulpi-phy"; };'
    source = (ZYNQ_TREE % "okay").replace("axi {", f"{phy} axi {{")
    on = 'usb@e0002000 { status = "okay"; }'
    assert on in source
    tree = compiled(source.replace(on, on.replace("okay", status)))
    assert names(tree, wanted(ZYNQ)) == left


@pytest.mark.parametrize(("status", "left"), [("okay", []), ("disabled", ["design: usb@fe200000"])])
def test_a_node_below_one_that_is_off_is_off(
    compiled: Callable[[str], DeviceTree], status: str, left: list[str]
) -> None:
    tree = compiled(ZYNQMP_TREE % status)
    assert names(tree, wanted(ZYNQMP, Soc.ZYNQMP)) == left


PINS = {"PCW_I2C1_PERIPHERAL_ENABLE": "1", "PCW_I2C1_I2C1_IO": "MIO 12 .. 13"}
LEFT = ["design: i2c@e0005000 pins"]


@pytest.mark.parametrize(
    ("start", "node", "left"),
    [
        pytest.param({"PCW_I2C1_PERIPHERAL_ENABLE": "0"}, "", LEFT, id="off at the start"),
        pytest.param({**PINS, "PCW_I2C1_I2C1_IO": "EMIO"}, "", LEFT, id="elsewhere at the start"),
        pytest.param({}, "pinctrl-0 = <1>;", [], id="set up by the kernel"),
        pytest.param(PINS, "", [], id="set up at the start"),
    ],
)
def test_pins_that_are_not_set_up_are_found(
    compiled: Callable[[str], DeviceTree], start: dict[str, str], node: str, left: list[str]
) -> None:
    source = (ZYNQ_TREE % "okay").replace("i2c1: i2c@e0005000 {", f"i2c1: i2c@e0005000 {{ {node}")
    first = wanted({**ZYNQ, "PCW_I2C1_PERIPHERAL_ENABLE": "0", **start}, origin="b.xsa")
    found = pin_findings(compiled(source), [first], [wanted({**ZYNQ, **PINS})], source="b.dts")
    assert [each.name for each in found] == left
    for each in found:
        assert each.text.startswith(
            "design base: I2C 1 is on MIO 12 .. 13, which neither the first stage"
        )
        assert each.text.endswith("by `pinctrl-0` in b.dts")


def test_pins_are_not_compared_where_nothing_is_known_of_the_start(
    compiled: Callable[[str], DeviceTree],
) -> None:
    tree = compiled(ZYNQ_TREE % "okay")
    assert pin_findings(tree, [], [wanted({**ZYNQ, **PINS})], source="b.dts") == []


def test_pins_of_disabled_peripherals_are_no_second_finding(
    compiled: Callable[[str], DeviceTree],
) -> None:
    tree = compiled(ZYNQ_TREE % "disabled")
    start = wanted({**ZYNQ, "PCW_I2C1_PERIPHERAL_ENABLE": "0"})
    assert pin_findings(tree, [start], [wanted({**ZYNQ, **PINS})], source="b.dts") == []
