# SPDX-License-Identifier: MIT
"""What is read out of device trees: memory, and which of QEMU's devices are the board's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.bsp.mainline.devicetree import memory_size
from builder.emulation.derive import Tree, read_tree
from builder.emulation.facts import machine_facts, position
from builder.errors import UserError
from builder.spec.models import Soc

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


def tree(folder: Path, address: int, size: int, reg: str) -> Tree:
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
    [("ethernet0", "has no alias ethernet0"), ("serial0", "QEMU has mmc@e0100000")],
)
def test_what_qemu_lacks_is_said(tmp_path: Path, alias: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        position(tree(tmp_path, 1, 1, "0 1"), alias, ("mmc@e0100000",))
