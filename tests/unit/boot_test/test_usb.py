# SPDX-License-Identifier: MIT
"""USB disk of an emulated board."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from builder.boot_test.usb import usb_disk
from builder.formats.devicetree import DeviceTree
from builder.qemu_devicetree.machine import machine_facts
from builder.spec.models import Soc

BUSES = machine_facts(Soc.ZYNQ).usb
ON, OFF = {"status": b"okay\0"}, {"status": b"disabled\0"}


@pytest.mark.parametrize(
    ("first", "second", "bus"),
    [(ON, OFF, "usb-bus.0"), (OFF, ON, "usb-bus.1"), (ON, {}, "usb-bus.0"), ({}, ON, "usb-bus.0")],
)
def test_the_disk_is_at_the_first_port(
    tmp_path: Path, first: dict[str, bytes], second: dict[str, bytes], bus: str
) -> None:
    tree: DeviceTree = {"/": {}, "/axi/usb@e0002000": first, "/axi/usb@e0003000": second}
    words = " ".join(usb_disk(tree, BUSES, tmp_path))
    assert f"-device usb-storage,bus={bus},drive=usb-disk,serial=zynq-sd-builder" in words
    assert f"file={tmp_path}/usb-disk.img,format=raw,readonly=on" in words


def test_the_disk_has_its_own_checksum(tmp_path: Path) -> None:
    usb_disk({"/axi/usb@e0002000": ON}, BUSES, tmp_path)
    content = (tmp_path / "usb-disk.img").read_bytes()
    serial, digest = content[:4096].rstrip(b"\0").decode().split()
    assert serial == "zynq-sd-builder"
    assert digest == hashlib.sha256(content[4096:]).hexdigest()
    assert len(content) == 4096 + (1 << 20)


@pytest.mark.parametrize(
    "tree", [{"/": {}}, {"/axi/usb@e0002000": OFF}], ids=["no USB", "not switched on"]
)
def test_a_board_without_usb_has_none(tmp_path: Path, tree: DeviceTree) -> None:
    assert usb_disk(tree, BUSES, tmp_path) == []
    assert not [*tmp_path.iterdir()]
