# SPDX-License-Identifier: MIT
"""The device tree of a new board enables exactly the design's peripherals."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from builder.board_generator.devicetree import Base, board_tree, with_logic
from builder.board_generator.open_questions import checks
from builder.board_generator.peripherals import choose
from builder.bsp.mainline.snippet import snippet
from builder.bsp.ps7.cpu_clock_check import tree_faults
from builder.bsp.soc import FAMILIES
from builder.bsp.trees import check_devices, derive_emulated, memory_size
from builder.errors import UserError
from builder.formats.devicetree import DeviceTree, read_tree
from builder.spec.models import Soc
from builder.vivado.design import read_design
from builder.vivado.export import open_export
from builder.vivado.system import System, read_system
from tests.fixtures.exports import hwh
from tests.fixtures.product import ROOT

PERIPHERALS = {
    Soc.ZYNQ: {
        "uart0": "serial@e0000000",
        "uart1": "serial@e0001000",
        "sdhci0": "mmc@e0100000",
        "sdhci1": "mmc@e0101000",
        "gem0": "ethernet@e000b000",
        "gem1": "ethernet@e000c000",
        "usb0": "usb@e0002000",
        "i2c0": "i2c@e0004000",
        "i2c1": "i2c@e0005000",
        "can0": "can@e0008000",
        "gpio0": "gpio@e000a000",
        "clkc": "clkc@f8000100",
        "scutimer": "timer@f8f00600",
        "intc": "interrupt-controller@f8f01000",
    },
    Soc.ZYNQMP: {
        "uart0": "serial@ff000000",
        "uart1": "serial@ff010000",
        "sdhci0": "mmc@ff160000",
        "sdhci1": "mmc@ff170000",
        "gem0": "ethernet@ff0b0000",
        "gem3": "ethernet@ff0e0000",
        "usb0": "usb@ff9d0000",
        "dwc3_0": "usb@fe200000",
        "psgtr": "phy@fd400000",
        "gpio": "gpio@ff0a0000",
    },
}
"""Parts of the SoCs' own trees, disabled."""
CPU = "operating-points = <666667 1000000 333334 1000000>;"
GPIO, PHY = "#define GPIO_ACTIVE_LOW 1\n", "#define PHY_TYPE_USB3 4\n"


def soc_tree(soc: Soc) -> str:
    nodes = "\n".join(
        f'{label}: {name} {{ status = "disabled"; }};' for label, name in PERIPHERALS[soc].items()
    )
    cells = {Soc.ZYNQ: 1, Soc.ZYNQMP: 2}[soc]
    return (
        f"/ {{ #address-cells = <{cells}>; #size-cells = <{cells}>;\n"
        f"cpus {{ cpu0: cpu@0 {{ {CPU} }}; }}; amba: axi {{\n{nodes}\n}};\n}};\n"
    )


def system_of(tmp_path: Path, soc: Soc, **parameters: str) -> System:
    path = tmp_path / "a.hwh"
    path.write_text(hwh(soc, parameters=parameters))
    return read_system(read_design(open_export(path)))


def source_of(system: System, base: Base | None = None) -> str:
    return board_tree(system, choose(system), name="New", model="New", about="About it.", base=base)


def compiled(tmp_path: Path, soc: Soc, source: str, **more: str) -> DeviceTree:
    """Compile a board's tree as a build does, with a small tree of the SoC."""
    shared = snippet(ROOT, FAMILIES[soc])
    files = {
        "new.dts": source,
        {Soc.ZYNQ: "zynq-7000.dtsi", Soc.ZYNQMP: "zynqmp.dtsi"}[soc]: soc_tree(soc),
        "zynqmp-clk-ccf.dtsi": "",
        # ZynqMP's refers to nodes that the small tree does not have.
        shared.name: shared.read_text() if soc is Soc.ZYNQ else "",
        "dt-bindings/gpio/gpio.h": GPIO,
        "dt-bindings/phy/phy.h": PHY,
        **{name.replace("_dtsi", ".dtsi"): text for name, text in more.items()},
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    flat, target = tmp_path / "flat.dts", tmp_path / "new.dtb"
    subprocess.run(
        ["cpp", "-nostdinc", "-undef", "-x", "assembler-with-cpp", "-I", tmp_path,
         tmp_path / "new.dts", "-o", flat],
        check=True,
    )  # fmt: skip
    subprocess.run(["dtc", "-q", "-O", "dtb", "-o", target, flat], check=True)
    return read_tree(target)


def on(tree: DeviceTree, soc: Soc) -> set[str]:
    """Return the labels of the peripherals that a tree enables."""
    names = {name: label for label, name in PERIPHERALS[soc].items()}
    return {
        names[node.rpartition("/")[2]]
        for node, properties in tree.items()
        if node.rpartition("/")[2] in names and properties["status"] == b"okay\0"
    }


def test_zynq(tmp_path: Path) -> None:
    system = system_of(tmp_path, Soc.ZYNQ)
    tree = compiled(tmp_path, Soc.ZYNQ, source_of(system))
    # I2C 1 is led to the logic: the overlay switches it on.
    assert on(tree, Soc.ZYNQ) == {"uart0", "sdhci0", "gem0", "usb0"}
    assert with_logic(system) == ["i2c1"]
    assert memory_size(tree) == 512 << 20
    check_devices(tree, Soc.ZYNQ, "ttyPS0,115200")
    assert tree["/chosen"]["pynq_board"] == b"New\0"
    assert "disable-wp" in tree["/axi/mmc@e0100000"]
    assert int.from_bytes(tree["/axi/clkc@f8000100"]["ps-clk-frequency"], "big") == 50_000_000
    # USB is on: the low point of the SoC's own tree would be too low for it.
    assert "operating-points" not in tree["/cpus/cpu@0"]
    assert tree_faults(tree) == []
    phy = tree["/phy0@e0002000"]
    assert phy["compatible"] == b"ulpi-phy\0"
    assert [int.from_bytes(phy["reg"][at : at + 4], "big") for at in (0, 4)] == [0xE0002000, 0x1000]
    assert int.from_bytes(phy["view-port"], "big") == 0x170
    assert "drv-vbus" in phy
    assert int.from_bytes(phy["reset-gpios"][4:8], "big") == 46
    assert tree["/axi/usb@e0002000"]["phys"] == phy["phandle"]


def test_zynqmp(tmp_path: Path) -> None:
    system = system_of(tmp_path, Soc.ZYNQMP)
    tree = compiled(tmp_path, Soc.ZYNQMP, source_of(system))
    assert on(tree, Soc.ZYNQMP) == {
        *("uart1", "sdhci0", "sdhci1", "gem0", "usb0", "dwc3_0", "psgtr"),
    }
    assert memory_size(tree) == 4 << 30
    # The console is UART 1, the card SD 0, the network GEM 0: QEMU has them all.
    check_devices(tree, Soc.ZYNQMP, "ttyPS0,115200")
    card, soldered = tree["/axi/mmc@ff160000"], tree["/axi/mmc@ff170000"]
    assert {"broken-cd", "disable-wp", "no-1-8-v"} <= {*card}
    assert {"non-removable", "bus-width"} <= {*soldered}
    assert int.from_bytes(soldered["xlnx,mio-bank"], "big") == 1
    assert tree["/axi/phy@fd400000"]["clock-names"] == b"ref2\0"


@pytest.mark.parametrize(
    ("pin", "absent"),
    [("MIO 46", set()), ("EMIO", {"disable-wp", "broken-cd"}), (None, {"disable-wp", "broken-cd"})],
)
def test_switches_of_the_slot_that_no_pin_is_wired_to(
    tmp_path: Path, pin: str | None, absent: set[str]
) -> None:
    parameters = {
        f"PCW_SD0_GRP_{switch}_{name}": value if pin else "0"
        for switch in ("CD", "WP")
        for name, value in (("ENABLE", "1"), ("IO", pin or ""))
    }
    system = system_of(tmp_path, Soc.ZYNQ, **parameters)
    tree = compiled(tmp_path, Soc.ZYNQ, source_of(system))
    assert {"disable-wp", "broken-cd"} & {*tree["/axi/mmc@e0100000"]} == absent
    said = next(
        each.now for each in checks(system, choose(system), like=None) if "card" in each.now
    )
    assert all(f"`{word}`" in said for word in absent)


def test_usb_without_a_transceiver(tmp_path: Path) -> None:
    system = system_of(tmp_path, Soc.ZYNQMP, PSU__USB3_0__PERIPHERAL__ENABLE="0")
    source = source_of(system)
    assert 'maximum-speed = "high-speed"' in source
    assert "psgtr" not in source


def test_another_boards_tree_below(tmp_path: Path) -> None:
    system = system_of(
        tmp_path, Soc.ZYNQ, PCW_CAN0_PERIPHERAL_ENABLE="1", PCW_CAN0_CAN0_IO="MIO 10 .. 11"
    )
    other = (
        '/dts-v1/;\n#include "zynq-7000.dtsi"\n/ { model = "Other"; memory@0 { reg = <0 0x40000000>; '
        'device_type = "memory"; }; chosen { pynq_board = "Other"; }; };\n'
        '&gem0 { status = "okay"; phy-handle = <&phy>; phy: ethernet-phy@3 { reg = <3>; }; };\n'
        '&uart1 { status = "okay"; };\n&usb0 { status = "okay"; dr_mode = "otg"; };\n'
    )
    base = Base(include="other.dtsi", source=other, board="Other")
    tree = compiled(tmp_path, Soc.ZYNQ, source_of(system, base), other_dtsi=other)
    assert on(tree, Soc.ZYNQ) == {"uart0", "sdhci0", "gem0", "usb0", "can0"}
    assert memory_size(tree) == 512 << 20
    assert tree["/"]["model"] == b"Other\0"
    assert tree["/chosen"]["pynq_board"] == b"New\0"
    # What the other board knows stays.
    assert "phy-handle" in tree["/axi/ethernet@e000b000"]
    assert tree["/axi/usb@e0002000"]["dr_mode"] == b"otg\0"


@pytest.mark.parametrize(
    "change",
    [
        {"PCW_ENET0_PERIPHERAL_ENABLE": "0"},
        {"PCW_ENET0_ENET0_IO": "EMIO"},
        {"PCW_ENET0_GRP_MDIO_IO": "EMIO"},
    ],
)
def test_a_board_without_network_has_one_in_qemu(tmp_path: Path, change: dict[str, str]) -> None:
    system = system_of(tmp_path, Soc.ZYNQ, **change)
    tree = compiled(tmp_path, Soc.ZYNQ, source_of(system))
    assert on(tree, Soc.ZYNQ) == {"uart0", "sdhci0", "usb0"}
    check_devices(tree, Soc.ZYNQ, "ttyPS0,115200")
    derive_emulated(tmp_path / "new.dtb", Soc.ZYNQ, tmp_path)
    assert "gem0" in on(read_tree(tmp_path / "emulated.dtb"), Soc.ZYNQ)
    assert "has no network of its own" in (tmp_path / "changes.json").read_text()


def test_a_choice_of_consoles_and_cards(tmp_path: Path) -> None:
    both = system_of(
        tmp_path,
        Soc.ZYNQ,
        PCW_UART1_PERIPHERAL_ENABLE="1",
        PCW_UART1_UART1_IO="MIO 48 .. 49",
        PCW_SD1_PERIPHERAL_ENABLE="1",
        PCW_SD1_SD1_IO="MIO 10 .. 15",
    )
    usual, other = choose(both), choose(both, console=1, card=1)
    assert (usual.console.number, usual.card.number) == (0, 0)
    assert (other.console.number, other.card.number) == (1, 1)
    with pytest.raises(UserError, match="--console 2: the design has no such UART on MIO pins"):
        choose(both, console=2)


@pytest.mark.parametrize(
    ("parameters", "message", "hint"),
    [
        ({"PCW_SD0_PERIPHERAL_ENABLE": "0"}, "no SD on the processing system's pins", "enable one"),
        ({"PCW_SD0_SD0_IO": "EMIO"}, "no card to boot from", r"SD 0 \(EMIO\)"),
        ({"PCW_UART0_UART0_IO": "EMIO"}, "there is no port for the console", r"UART 0 \(EMIO\)"),
    ],
)
def test_what_a_card_needs(
    tmp_path: Path, parameters: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        choose(system_of(tmp_path, Soc.ZYNQ, **parameters))
    assert caught.value.hint
    assert re.search(hint, caught.value.hint)
