# SPDX-License-Identifier: MIT
"""The device tree of a new Pynq-Z2 is that of the tree's own board, but for a list of differences."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.formats.devicetree import DeviceTree, read_tree
from builder.publish.output import Output
from tests.fixtures.new_boards import PREFIX, build_boards, exports, make_boards

NEW = f"{PREFIX}Pynq-Z2"

PHY = "an export does not say what is on MDIO: the kernel looks for it"
OTP = "/axi/spi@e000d000/flash@0/otp"
LOGIC = "the design leads I2C 1 into the programmable logic: the new board's overlay switches it on"
LIBRARY = "the pynq library opens it for its own base design"
PINS = "the start-up code of an export sets the pins; that of the tree's board leaves them as GPIO"
PROPERTIES = {
    ("/", "compatible"): "a board's own is its maker's to give",
    ("/", "model"): "a name",
    ("/chosen", "pynq_board"): "a name",
    ("/aliases", "i2c1"): LOGIC,
    ("/axi/i2c@e0005000", "clock-frequency"): LOGIC,
    ("/axi/i2c@e0005000", "status"): LOGIC,
    ("/audio-codec-ctrl@43c00000", "compatible"): LIBRARY,
    ("/audio-codec-ctrl@43c00000", "reg"): LIBRARY,
    ("/axi/i2c@e0004000", "clock-frequency"): PINS,
    ("/axi/i2c@e0004000", "pinctrl-0"): PINS,
    ("/axi/i2c@e0004000", "pinctrl-names"): PINS,
    **{
        (f"/axi/slcr@f8000000/pinctrl@700/i2c0-default/{node}", name): PINS
        for node, names in {
            "conf": ("bias-pull-up", "groups", "power-source", "slew-rate"),
            "mux": ("function", "groups"),
        }.items()
        for name in names
    },
    ("/axi/ethernet@e000b000", "phy-handle"): PHY,
    ("/axi/ethernet@e000b000/ethernet-phy@1", "device_type"): PHY,
    ("/axi/ethernet@e000b000/ethernet-phy@1", "reg"): PHY,
    ("/axi/ethernet@e000b000/ethernet-phy@1", "reset-assert-us"): PHY,
    ("/axi/ethernet@e000b000/ethernet-phy@1", "reset-deassert-us"): PHY,
    ("/axi/ethernet@e000b000/ethernet-phy@1", "reset-gpios"): PHY,
    **dict.fromkeys(
        (
            *((OTP, name) for name in ("compatible", "#address-cells", "#size-cells")),
            *((f"{OTP}/mac-address@{place}", "reg") for place in ("20", "1000")),
        ),
        "no export says what is in the flash",
    ),
    (
        "/phy0@e0002000",
        "reset-gpios",
    ): "the design has no reset of the USB PHY; the tree has it of the schematic",
}
"""What differs in the device trees, and why."""

# Cells of the arguments after a reference: those of the node that is referred to.
_REFERENCES = {
    "clocks": "#clock-cells",
    "reset-gpios": "#gpio-cells",
    "phys": "#phy-cells",
    **dict.fromkeys(
        (
            *("interrupt-parent", "phy-handle", "fpga-mgr", "remote-endpoint", "cpu", "syscon"),
            *("cpu0-supply", "next-level-cache"),
        ),
        "",
    ),
}


def properties(tree: DeviceTree) -> dict[tuple[str, str], object]:
    """Return a tree's properties, with paths in place of the numbers by which nodes are referred to."""
    nodes = {each["phandle"]: node for node, each in tree.items() if "phandle" in each}

    def referred(value: bytes, cells: str) -> Iterator[object]:
        words = [value[at : at + 4] for at in range(0, len(value), 4)]
        while words:
            node = nodes[words.pop(0)]
            count = int.from_bytes(tree[node].get(cells, b""), "big")
            yield node, *words[:count]
            words = words[count:]

    return {
        (node, name): tuple(referred(value, _REFERENCES[name])) if name in _REFERENCES else value
        for node, each in tree.items()
        if node != "/__symbols__"
        for name, value in each.items()
        if name != "phandle"
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the new board in `boards/`."""
    path = tmp_path_factory.mktemp("new-board")
    make_boards(path, {NEW: exports(path)[NEW]})
    return path


def test_the_device_tree(built: Output, folder: Path) -> None:
    (new,) = build_boards(folder, "build", NEW).values()
    trees = [built.directory / "boot/board.dtb", new.directory / "boot/board.dtb"]
    ours, theirs = (properties(read_tree(path)) for path in trees)
    different = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    assert different == {*PROPERTIES}


def test_overlays_are_made_for_the_board(folder: Path) -> None:
    """The overlay that a card gets fits the device tree that it gets."""
    (new,) = build_boards(folder, "build", NEW).values()
    overlay = folder / "overlay.dtbo"
    source = folder / f"boards/{NEW}/recipes/pl-overlay/{NEW}.dtso"
    subprocess.run(["dtc", "-q", "-O", "dtb", "-o", overlay, source], check=True)
    merged = folder / "merged.dtb"
    base = new.directory / "boot/board.dtb"
    subprocess.run(["fdtoverlay", "-i", base, "-o", merged, overlay], check=True)
    tree = read_tree(merged)
    assert tree["/gpio@41250000"]["compatible"] == b"xlnx,xps-gpio-1.00.a\0"
