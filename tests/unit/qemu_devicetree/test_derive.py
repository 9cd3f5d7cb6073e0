# SPDX-License-Identifier: MIT
"""The emulated board's tree: its changes, and the proof that there are no others."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from builder.boot_test import card
from builder.errors import StepError, UserError
from builder.formats.devicetree import parse_tree, read_tree
from builder.formats.fit import Fit, FitImage
from builder.qemu_devicetree.derive import (
    Change,
    Rule,
    changes_to_json,
    check,
    derive,
    describe_changes,
    read_rules,
)
from tests.fixtures.product import ROOT

MACHINES = ROOT / "builder" / "qemu_devicetree"

pytestmark = pytest.mark.skipif(
    not (shutil.which("dtc") and shutil.which("fdtput")), reason="needs device-tree-compiler"
)

BOARD = """\
/dts-v1/;
/memreserve/ 0x1000 0x2000;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	model = "board";
	cpus {
		#address-cells = <1>;
		#size-cells = <0>;
		cpu@0 { reg = <0>; operating-points = <650000 1000000>; };
		cpu@1 { reg = <1>; };
	};
	bus: axi {
		#address-cells = <1>;
		#size-cells = <1>;
		gem0: ethernet@e000b000 {
			reg = <0xe000b000 0x1000>;
			phy-handle = <&phy>;
			#address-cells = <1>;
			#size-cells = <0>;
			phy: some-name@1 { reg = <1>; marvell,reg-init = [01 02 03]; };
		};
		ethernet@e000c000 { reg = <0xe000c000 0x1000>; status = "disabled"; };
		timer@f8f00600 { reg = <0xf8f00600 0x20>; clocks = <&bus 4>; };
	};
};
"""

ULTRASCALE = """\
/dts-v1/;
/ {
	#address-cells = <2>;
	#size-cells = <2>;
	pss_ref_clk: pss_ref_clk { compatible = "fixed-clock"; #clock-cells = <0>; };
	firmware: zynqmp-firmware { #power-domain-cells = <1>; clk: clock { #clock-cells = <1>; }; };
	bus: axi {
		#address-cells = <2>;
		#size-cells = <2>;
		serial@ff000000 {
			reg = <0x0 0xff000000 0x0 0x1000>;
			clocks = <&clk 56>, <&clk 31>;
			power-domains = <&firmware 33>;
			pinctrl-names = "default";
			pinctrl-0 = <&clk>;
			status = "okay";
		};
		serial@ff010000 {
			reg = <0x0 0xff010000 0x0 0x1000>;
			clocks = <&clk 57>, <&clk 31>;
			power-domains = <&firmware 34>;
			status = "disabled";
		};
		mmc@ff170000 {
			reg = <0x0 0xff170000 0x0 0x1000>;
			clocks = <&clk 55>, <&clk 31>;
			assigned-clocks = <&clk 55>;
		};
		ethernet@ff0e0000 {
			reg = <0x0 0xff0e0000 0x0 0x1000>;
			clocks = <&clk 31>, <&clk 107>, <&clk 48>, <&clk 52>, <&clk 44>;
			resets = <&clk 32>;
			phys = <&clk 0>;
			phy-names = "sgmii";
			phy-handle = <&phy>;
			status = "okay";
			mdio {
				#address-cells = <1>;
				#size-cells = <0>;
				phy: ethernet-phy@c { reg = <0xc>; reset-gpios = <&clk 6 1>; };
			};
		};
		i2c@ff020000 {
			reg = <0x0 0xff020000 0x0 0x1000>;
			clocks = <&clk 61>;
			power-domains = <&firmware 37>;
			status = "okay";
		};
	};
};
"""


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return compile_tree(tmp_path / "board.dtb", BOARD)


@pytest.fixture
def ultrascale(tmp_path: Path) -> Path:
    return compile_tree(tmp_path / "ultrascale.dtb", ULTRASCALE)


def compile_tree(path: Path, text: str) -> Path:
    argv = ["dtc", "-q", "-@", "-I", "dts", "-O", "dtb", "-o", str(path), "-"]
    subprocess.run(argv, check=True, input=text, text=True)
    return path


def rule(nodes: str, name: str, value: tuple[int, ...] | str | None = None, **more: str) -> Rule:
    return Rule(nodes=nodes, property=name, value=value, because="a test", via=more.get("via"))


def test_the_reader_agrees_with_dtc(board: Path) -> None:
    tree = read_tree(board)
    assert tree["/"]["model"] == b"board\0"
    assert tree["/axi/ethernet@e000b000/some-name@1"]["marvell,reg-init"] == b"\1\2\3"
    assert tree["/__symbols__"]["phy"] == b"/axi/ethernet@e000b000/some-name@1\0"
    assert list(tree)[:4] == ["/", "/cpus", "/cpus/cpu@0", "/cpus/cpu@1"]


def test_changes_of_the_zynq_machine(board: Path, tmp_path: Path) -> None:
    rules, clock = read_rules(MACHINES / "zynq.yaml"), "/emulated-timer-clock"
    changes = derive(board, rules, tmp_path / "emulated.dtb")
    assert [(each.node, each.property, each.before, each.after) for each in changes] == [
        ("/axi/ethernet@e000b000/some-name@1", "reg", b"\0\0\0\1", b"\0\0\0\7"),
        ("/cpus/cpu@0", "operating-points", b"\0\x09\xeb\x10\0\x0f\x42\x40", None),
        (clock, "compatible", None, b"fixed-clock\0"),
        (clock, "#clock-cells", None, bytes(4)),
        (clock, "clock-frequency", None, b"\x05\xf5\xe1\0"),
        (clock, "phandle", None, b"\0\0\x10\0"),
        ("/axi/timer@f8f00600", "clocks", b"\0\0\0\2\0\0\0\4", b"\0\0\x10\0"),
        ("/chosen", "emulated-by", None, b"QEMU\0"),
    ]
    lines = describe_changes(changes_to_json(changes))
    assert lines[0].startswith(
        "/axi/ethernet@e000b000/some-name@1 reg: <1> -> <7> (The PHY of QEMU's GEM"
    )
    assert len(lines) == 4, "one line a reason"
    assert lines[2].count("; /emulated-timer-clock ") == 3
    check(board, tmp_path / "emulated.dtb", changes)


def test_differences_of_a_finished_card_are_described(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are derived from the trees on the card, in the format of a build, without reasons."""
    derive(board, read_rules(MACHINES / "zynq.yaml"), tmp_path / "emulated.dtb")
    trees = {"conf-board": board, "conf-emulated": tmp_path / "emulated.dtb"}
    images = {
        name: FitImage(name=name, arch="arm", data=path.read_bytes())
        for name, path in trees.items()
    }
    found = Fit(
        images=images, configurations={name: {"fdt": name} for name in trees}, default="conf-board"
    )
    monkeypatch.setattr(card, "boot_file", lambda *_: tmp_path / "image.ub")
    monkeypatch.setattr(card, "read_fit", lambda _: found)
    card.emulated_tree(tmp_path / "card.img", tmp_path / "boot", tmp_path)
    assert (tmp_path / "boot/emulated.dtb").read_bytes() == images["conf-emulated"].data
    (line,) = describe_changes((tmp_path / "boot/changes.json").read_text())
    told_first, *_, told_last = line.split("; ")
    assert told_first == "/axi/ethernet@e000b000/some-name@1 reg: <1> -> <7>"
    assert told_last.startswith("/emulated-timer-clock phandle: none -> ")


def test_changes_of_the_zynqmp_machine(ultrascale: Path, tmp_path: Path) -> None:
    rules = read_rules(MACHINES / "zynqmp.yaml")
    changes = derive(ultrascale, rules, tmp_path / "emulated.dtb")
    serial, mmc = "/axi/serial@ff000000", "/axi/mmc@ff170000"
    ethernet, phy = "/axi/ethernet@ff0e0000", "/axi/ethernet@ff0e0000/mdio/ethernet-phy@c"
    # Not serial@ff010000, which is disabled, nor devices that an emulated boot does not need.
    assert [(each.node, each.property) for each in changes] == [
        (serial, "clocks"),
        (mmc, "clocks"),
        (ethernet, "clocks"),
        (serial, "power-domains"),
        (ethernet, "resets"),
        (serial, "pinctrl-0"),
        (mmc, "assigned-clocks"),
        (ethernet, "phys"),
        (phy, "reg"),
        (phy, "reset-gpios"),
        ("/chosen", "emulated-by"),
    ]
    tree = read_tree(tmp_path / "emulated.dtb")
    crystal = tree["/pss_ref_clk"]["phandle"]
    assert [tree[node]["clocks"] for node in (serial, mmc, ethernet)] == [
        crystal * 2,
        crystal * 2,
        crystal * 5,
    ]
    assert tree[phy]["reg"] == b"\0\0\0\x17"
    assert [each.after is None for each in changes] == [
        *([False] * 3 + [True] * 5),
        *(False, True, False),
    ]


@pytest.mark.parametrize("device", ["serial", "mmc"])
def test_a_board_that_could_not_boot_from_its_card(tmp_path: Path, device: str) -> None:
    text = ULTRASCALE.replace(f"{device}@ff", f"other-{device}@ff")
    board = compile_tree(tmp_path / "board.dtb", text)
    with pytest.raises(UserError, match=rf"no node or property matches /axi/{device}@\* clocks"):
        derive(board, read_rules(MACHINES / "zynqmp.yaml"), tmp_path / "out.dtb")


def test_enabled_nodes_are_those_without_a_status_or_with_okay(
    ultrascale: Path, tmp_path: Path
) -> None:
    only = Rule(nodes="/axi/*", property="x", value=(1,), enabled=True, because="a test")
    changes = derive(ultrascale, [only], tmp_path / "out.dtb")
    assert [each.node for each in changes] == [
        "/axi/serial@ff000000",
        "/axi/mmc@ff170000",
        "/axi/ethernet@ff0e0000",
        "/axi/i2c@ff020000",
    ]


def test_a_path_as_a_cell_is_the_phandle_of_that_node(ultrascale: Path, tmp_path: Path) -> None:
    wanted = Rule(nodes="/axi", property="x", value=(7, "/pss_ref_clk"), because="a test")
    derive(ultrascale, [wanted], tmp_path / "out.dtb")
    tree = read_tree(tmp_path / "out.dtb")
    assert tree["/axi"]["x"] == b"\0\0\0\7" + tree["/pss_ref_clk"]["phandle"]


@pytest.mark.parametrize("path", ["/nowhere", "/axi/i2c@ff020000"])
def test_a_path_that_nothing_can_refer_to(ultrascale: Path, tmp_path: Path, path: str) -> None:
    wanted = Rule(nodes="/axi", property="x", value=(path,), because="a test")
    with pytest.raises(UserError, match=f"no node {path} with a phandle"):
        derive(ultrascale, [wanted], tmp_path / "out.dtb")


def test_result_can_be_derived_again_without_a_change(board: Path, tmp_path: Path) -> None:
    rules = read_rules(MACHINES / "zynq.yaml")
    derive(board, rules, tmp_path / "once.dtb")
    assert derive(tmp_path / "once.dtb", rules, tmp_path / "twice.dtb") == []
    assert (tmp_path / "twice.dtb").read_bytes() == (tmp_path / "once.dtb").read_bytes()


def test_board_is_left_alone(board: Path, tmp_path: Path) -> None:
    before = board.read_bytes()
    derive(board, [rule("/", "model", "other")], tmp_path / "out.dtb")
    assert board.read_bytes() == before
    assert read_tree(tmp_path / "out.dtb")["/"]["model"] == b"other\0"


def test_removes_by_pattern_and_creates(board: Path, tmp_path: Path) -> None:
    clock = Rule(
        nodes="/clock", property="compatible", value="fixed-clock", create=True, because="x"
    )
    rules = [rule("/cpus/*", "op*"), rule("/axi/ether*", "clocks", (9, 10)), clock]
    changes = derive(board, rules, tmp_path / "out.dtb")
    assert [(each.node, each.property) for each in changes] == [
        ("/cpus/cpu@0", "operating-points"),
        ("/axi/ethernet@e000b000", "clocks"),
        ("/axi/ethernet@e000c000", "clocks"),
        ("/clock", "compatible"),
    ]


@pytest.mark.parametrize(
    "missing",
    [
        rule("/axi/usb@*", "reg", (1,)),
        rule("/cpus/*", "clock-latency"),
        rule("/cpus/*", "reg", (7,), via="phy-handle"),
        rule("/ethernet@e000b000", "reg", (7,)),
    ],
)
def test_a_change_that_finds_nothing(board: Path, tmp_path: Path, missing: Rule) -> None:
    with pytest.raises(UserError, match="no node or property matches"):
        derive(board, [missing], tmp_path / "out.dtb")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"board"', '"bored"', '/ model: expected "board", found "bored"'),
        ("reg = <0>; ", "", "/cpus/cpu@0 reg: expected <0>, found none"),
        ('model = "board";', 'model = "board"; extra;', "/ extra: expected none, found []"),
        ("cpu@1", "cpu@2", "/cpus/cpu@2 (the node): expected none, found []"),
        ("0x1000 0x2000", "0x1000 0x3000", "the memory reservations differ"),
    ],
)
def test_check_finds_any_other_difference(
    board: Path, tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    other = compile_tree(tmp_path / "other.dtb", BOARD.replace(old, new))
    with pytest.raises(StepError, match="more than the listed changes") as caught:
        check(board, other, [])
    assert complaint in caught.value.details


def test_check_finds_a_change_that_was_not_made(board: Path, tmp_path: Path) -> None:
    shutil.copyfile(board, tmp_path / "out.dtb")
    claimed = Change(node="/", property="model", before=b"board\0", after=b"x\0", because="x")
    with pytest.raises(StepError):
        check(board, tmp_path / "out.dtb", [claimed])


@pytest.mark.parametrize("size", [0, 20, 100, 600])
def test_damaged_tree(board: Path, tmp_path: Path, size: int) -> None:
    board.write_bytes(board.read_bytes()[:size])
    with pytest.raises(StepError, match="is not a device tree"):
        derive(board, [rule("/", "model", "x")], tmp_path / "out.dtb")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("changes: 1", "must be a list"),
        ("changes: [{nodes: /x}]", "must have `nodes`, `property` and `because`"),
        ("changes: [{nodes: /x, property: y, because: z}]", "either `value` or `remove: true`"),
        ("changes: [{nodes: /x, property: y, because: z, value: [-1]}]", "32-bit numbers"),
        ("changes: [{nodes: /x, property: y, because: z, value: []}]", "32-bit numbers"),
        ("changes: [{nodes: /x, property: y, because: z, value: [clk]}]", "and paths"),
        (
            "changes: [{nodes: /x, property: y, because: z, remove: true, id: 1}]",
            "unknown keys: id",
        ),
    ],
)
def test_wrong_rules(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "machine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_rules(path)


def test_a_tree_that_is_nested_without_end_is_refused() -> None:
    deep = b"\0\0\0\1\0\0\0\0" + b"\0\0\0\1x\0\0\0" * 80 + b"\0\0\0\2" * 81 + b"\0\0\0\x09"
    head = struct.pack(">4I", 0xD00DFEED, 16 + len(deep), 16, 16)
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        parse_tree(head + deep)
