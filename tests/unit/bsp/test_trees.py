# SPDX-License-Identifier: MIT
"""Facts in device trees: memory, and QEMU's devices of a board."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from builder.bsp.mainline.snippet import snippet
from builder.bsp.soc import FAMILIES
from builder.bsp.trees import memory_size
from builder.errors import UserError
from builder.formats.devicetree import DeviceTree, read_tree
from builder.qemu_devicetree.machine import machine_facts, position
from builder.spec.models import Board, Soc
from tests.fixtures.product import ROOT

SOURCE = """\
/dts-v1/;
/ {{
    #address-cells = <{address}>;
    #size-cells = <{size}>;
    aliases {{ serial0 = "/axi/serial@e0001000"; mmc0 = "/axi/mmc@e0100000"; }};
    memory@0 {{ device_type = "memory"; reg = <{reg}>; }};
    axi {{ serial@e0001000 {{ }}; mmc@e0100000 {{ }}; }};
}};
"""

ZCU111 = """\
/dts-v1/;
/ {
    #address-cells = <2>;
    #size-cells = <2>;
    aliases { serial0 = &uart; mmc0 = &card; ethernet0 = &gem; };
    chosen { bootargs = "earlycon"; stdout-path = "serial0:115200n8"; };
    memory@0 { device_type = "memory"; reg = <0 0 0 0x80000000>, <8 0 0 0x80000000>; };
    i2c1: i2c { eeprom: eeprom { }; };
	xilinx_ams: ams { ams_ps: ps { }; ams_pl: pl { }; }; zynqmp_firmware: zynqmp-firmware { #power-domain-cells = <1>; };
    gic: interrupt-controller { #interrupt-cells = <3>; };
    fpga_full: fpga-full { };
    axi { uart: serial@ff000000 { }; card: mmc@ff170000 { }; gem: ethernet@ff0e0000 { }; };
};
"""
"""What the tree of this name has in common in the kernel and in U-Boot, as far as ours builds on it."""


def tree(folder: Path, address: int, size: int, reg: str) -> DeviceTree:
    source, target = folder / "board.dts", folder / "board.dtb"
    source.write_text(SOURCE.format(address=address, size=size, reg=reg))
    subprocess.run(["dtc", "-q", "-O", "dtb", "-o", target, source], check=True)
    return read_tree(target)


@pytest.mark.parametrize(
    ("address", "size", "reg", "mebibytes"),
    [
        (1, 1, "0x0 0x20000000", 512),
        (1, 1, "0x0 0x20000000 0x30000000 0x10000000", 768),
        (2, 2, "0x0 0x0 0x0 0x80000000 0x8 0x0 0x0 0x80000000", 4096),
        (2, 1, "0x0 0x0 0x40000000", 1024),
    ],
)
def test_memory_is_the_sum_of_all_ranges(
    tmp_path: Path, address: int, size: int, reg: str, mebibytes: int
) -> None:
    assert memory_size(tree(tmp_path, address, size, reg)) == mebibytes << 20


def test_devices_are_found_by_their_alias(tmp_path: Path) -> None:
    facts = machine_facts(Soc.ZYNQ)
    board = tree(tmp_path, 1, 1, "0 1")
    assert position(board, "serial0", facts.serial) == 1, "QEMU's second -serial"
    assert position(board, "mmc0", facts.sd) == 0


@pytest.mark.parametrize(
    ("alias", "message"),
    [("ethernet0", "has no alias ethernet0"), ("serial0", "QEMU has only mmc@e0100000")],
)
def test_devices_that_qemu_lacks_are_named(tmp_path: Path, alias: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        position(tree(tmp_path, 1, 1, "0 1"), alias, ("mmc@e0100000",))


@pytest.fixture
def zcu111(tmp_path: Path) -> DeviceTree:
    """The board's tree, which includes a synthetic one of the kernel."""
    source = ROOT / "boards/ZCU111/devicetree/zynqmp-zcu111.dts"
    (tmp_path / "zynqmp-zcu111-revA.dts").write_text(ZCU111)
    flat, target = tmp_path / "board.dts", tmp_path / "board.dtb"
    words = ["cpp", "-nostdinc", "-undef", "-D__DTS__", "-x", "assembler-with-cpp"]
    folders = ["-I", str(snippet(ROOT, FAMILIES[Soc.ZYNQMP]).parent), "-I", str(tmp_path)]
    subprocess.run([*words, *folders, str(source), "-o", str(flat)], check=True)
    subprocess.run(["dtc", "-q", "-@", "-O", "dtb", "-o", target, flat], check=True)
    return read_tree(target)


def test_the_zcu111_agrees_with_its_specification(zcu111: DeviceTree) -> None:
    path = ROOT / "boards/ZCU111/board.yaml"
    board = Board.model_validate(yaml.safe_load(path.read_text()))
    arguments = zcu111["/chosen"]["bootargs"].rstrip(b"\0").decode().split()
    assert {f"console={board.console}", f"root={board.root_device}", "earlycon"} <= {*arguments}
    assert zcu111["/chosen"]["pynq_board"] == b"ZCU111\0"
    assert memory_size(zcu111) == board.memory


def test_zcu111_names_its_clock_chips(zcu111: DeviceTree) -> None:
    bridge = "/i2c/i2c-mux@74/i2c@5/sc18is603@2f"
    assert zcu111[bridge]["compatible"] == b"nxp,sc18is602b\0"
    chips = [node for node in zcu111 if node.startswith(f"{bridge}/")]
    assert [zcu111[chip]["compatible"] for chip in chips] == [
        *(b"ti,lmx2594\0", b"ti,lmk04208\0", b"ti,lmx2594\0", b"ti,lmx2594\0")
    ]


def test_zcu111_in_qemu(zcu111: DeviceTree) -> None:
    facts = machine_facts(Soc.ZYNQMP)
    assert position(zcu111, "serial0", facts.serial) == 0
    assert position(zcu111, "mmc0", facts.sd) == 1, "the second controller's card"
    assert position(zcu111, "ethernet0", facts.nic) == 3, "the last of four"


def test_zcu111_has_the_interrupt_and_the_region_of_the_logic(zcu111: DeviceTree) -> None:
    node = zcu111["/fabric@a0000000"]
    assert node["compatible"] == b"generic-uio\0"
    assert node["reg"] == bytes.fromhex("00000000 a0000000 00000000 00010000")
    assert node["interrupt-parent"] == zcu111["/interrupt-controller"]["phandle"]
    assert node["interrupts"] == bytes.fromhex("00000000 00000059 00000004")
    firmware = zcu111["/zynqmp-firmware"]["phandle"]
    assert zcu111["/fpga-full"]["power-domains"] == firmware + b"\0\0\0\x45"
