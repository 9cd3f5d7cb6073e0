# SPDX-License-Identifier: MIT
"""The hardware of an imported board: its export, device tree and kernel."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import yaml

from builder.errors import UserError
from builder.sdbuild_import import facts
from builder.sdbuild_import.devicetree import board_tree, read_user_tree
from builder.sdbuild_import.report import Outcome
from builder.spec.models import Soc
from tests.fixtures.exports import hwh, make_xsa, start_up
from tests.fixtures.sdbuild_imports import Imports, said
from tests.fixtures.sdbuild_repository import BOARDS, LAYER, LINUX
from tests.fixtures.sdbuild_repository import TREE as DTSI

# The hardware


def test_export_and_firmware_come_out_of_the_bsp(imports: Imports) -> None:
    imports("SURFv6revB")
    place = imports.target / "SURFv6revB"
    # The project's own export, not the one that a design left in `hardware/`.
    assert (place / "hardware/SURFv6revB.xsa").read_bytes()[:2] == b"PK"
    assert (place / "firmware/pmufw.elf").read_bytes() == b"the PMU's memory"


def test_a_bsp_that_is_none_is_said(imports: Imports) -> None:
    (imports.write("SURFv6revB") / "SURFv6revB.bsp").write_bytes(b"no archive")
    report = imports("SURFv6revB")
    (what,) = said(report, Outcome.PERSON, "SURFv6revB.bsp")
    assert what.startswith("is not a BSP of PetaLinux: ")


def test_a_bsp_that_is_damaged_is_said(imports: Imports) -> None:
    path = imports.write("SURFv6revB") / "SURFv6revB.bsp"
    os.truncate(path, path.stat().st_size // 2)
    (what,) = said(imports("SURFv6revB"), Outcome.PERSON, "SURFv6revB.bsp")
    assert what.startswith("is not a BSP of PetaLinux: SURFv6revB.bsp cannot be read: ")


def test_what_is_too_large_in_a_bsp_is_said(
    imports: Imports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.sdbuild_import.hardware.LARGEST", 8)
    imports.write("SURFv6revB")
    (what,) = said(imports("SURFv6revB"), Outcome.PERSON, "SURFv6revB.bsp")
    assert "larger than" in what


def test_a_url_without_checksum_is_for_a_person_unless_it_is_fetched(
    imports: Imports, tmp_path: Path
) -> None:
    report = imports("RFSoC4x2")
    (what,) = said(report, Outcome.PERSON, "RFSoC4x2.spec", 2)
    assert "needs its sha256" in what
    file = tmp_path / "vendor.bsp"
    file.write_bytes(b"a BSP")
    again = Imports(tmp_path / "again")
    spec = again.write("RFSoC4x2") / "RFSoC4x2.spec"
    spec.write_text(
        spec.read_text().replace("https://vendor.invalid/RFSoC4x2.bsp?raw=1", f"file://{file}")
    )
    report = again("RFSoC4x2", fetch=True)
    bsp = yaml.safe_load(again.text("RFSoC4x2", "board.yaml"))["bsp"]
    digest = hashlib.sha256(b"a BSP").hexdigest()
    assert bsp["petalinux"]["bsp"] == {"url": f"file://{file}", "sha256": digest}
    assert bsp["provider"] == "petalinux"
    assert not report.problems


def test_a_url_that_gives_nothing_is_an_error_and_leaves_nothing(imports: Imports) -> None:
    spec = imports.write("RFSoC4x2") / "RFSoC4x2.spec"
    spec.write_text(spec.read_text().replace("https://vendor.invalid", "file:///nowhere"))
    with pytest.raises(UserError, match="cannot be downloaded"):
        imports("RFSoC4x2", fetch=True)
    assert imports.wrote() == []


def test_a_board_like_one_of_the_tree_has_its_tree_under_its_own_name(imports: Imports) -> None:
    report = imports("Pynq-ZED", like="Pynq-Z2")
    source = imports.text("Pynq-ZED", "devicetree/zynq-pynq-zed-board.dts")
    assert 'pynq_board = "Pynq-ZED";' in source
    assert (imports.target / "Pynq-ZED/ps7/arty-z7.registers.yaml").is_file()
    assert any(
        "those of Pynq-Z2: check that they fit" in what
        for what in said(report, Outcome.PERSON, "Pynq-ZED.spec")
    )


def test_a_board_of_the_trees_own_name_is_that_board(imports: Imports) -> None:
    report = imports("Pynq-Z2")
    assert (imports.target / "Pynq-Z2/ps7/arty-z7.registers.yaml").is_file()
    assert any(
        "in this repository" in what for what in said(report, Outcome.CONVERTED, "Pynq-Z2.spec")
    )
    assert any("add missing parts" in what for what in said(report, Outcome.PERSON, DTSI))


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ("Pinq-Z2", "--like Pinq-Z2: no such board (did you mean Pynq-Z2?)"),
        ("ZCU111", "--like ZCU111: its family is zynqmp, that of Pynq-ZED is zynq"),
    ],
)
def test_a_board_cannot_be_like_any(imports: Imports, like: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        imports("Pynq-ZED", like=like)
    assert caught.value.message == message
    assert imports.wrote() == []


@pytest.mark.parametrize("board", facts.known_boards(), ids=lambda board: board.names[0])
def test_names_of_known_boards_are_plain_and_of_one_board(board: facts.KnownBoard) -> None:
    for name in board.names:
        assert facts.plain(name) == name
        assert facts.known_board(name) is board
    assert board.devicetree.startswith(board.soc.value)


# The device tree


def test_a_tree_of_its_own_begins_with_the_familys(imports: Imports) -> None:
    imports("e200")
    source = imports.text("e200", "devicetree/zynq-e200-board.dts")
    assert '#include "zynq-7000.dtsi"' in source
    assert "serial0 = &uart1;" in source, "as the board's additions say"
    assert "mmc0 = &sdhci0;" in source
    assert "qspi: spi@e000d000" in source, "Linux 6.1 lacks it"
    assert "memory@0" not in source, "the additions have it"
    lines = [line for line in source.splitlines() if line.startswith("#include")]
    assert lines[1:] == [
        '#include "zynq-e200-board-system-user.dtsi"',
        '#include "pynq-pl-zynq.dtsi"',
    ]
    added = imports.text("e200", "devicetree/zynq-e200-board-system-user.dtsi").splitlines()
    assert added[:3] == [
        '/* of PetaLinux: "system-conf.dtsi" */',
        '#include "zynq-e200-board-e200-sensors.dtsi"',
        "#include <dt-bindings/gpio/gpio.h>",
    ]


def test_what_in_a_tree_does_not_fit_is_said_with_its_line(imports: Imports) -> None:
    report = imports("e200")
    text = str(BOARDS["e200"][DTSI])

    def line(part: str) -> int:
        return 1 + next(i for i, each in enumerate(text.splitlines()) if part in each)

    for part, what in [
        ("bootargs", "bootargs cma=64M quiet: dropped"),
        ("dma@40400000", "dma@40400000 is in the programmable logic"),
        ("axi_gpio_0", "label &axi_gpio_0 is not in zynq-7000.dtsi"),
    ]:
        (found,) = said(report, Outcome.PERSON, DTSI, line(part))
        assert found.startswith(what)
    assert len(said(report, Outcome.PERSON, DTSI)) == 3


@pytest.mark.parametrize(
    ("soc", "node", "memory"),
    [
        (Soc.ZYNQ, "memory { reg = <0x0 0x20000000>; };", 512 << 20),
        (Soc.ZYNQ, 'memory@0 { device_type = "memory"; reg = <0 0x40000000>; };', 1 << 30),
        (Soc.ZYNQMP, "memory { reg = <0x0 0x0 0x0 0x80000000>; };", 2 << 30),
        (Soc.ZYNQMP, "memory@0 { reg = <0 0 0 0x80000000 0x8 0 0 0x80000000>; };", 4 << 30),
        (Soc.ZYNQMP, "memory@0 { reg = <0 0 0 0x80000000>, <0x8 0 0x1 0>; };", 6 << 30),
        (Soc.ZYNQ, "// memory { reg = <0 0x1000>; };", 0),
        (Soc.ZYNQ, "/* memory { reg = <0 0x1000>; }; */", 0),
        (Soc.ZYNQ, "reserved-memory { };", 0),
    ],
)
def test_memory_of_a_tree(soc: Soc, node: str, memory: int) -> None:
    assert read_user_tree(f"/ {{ {node} }};", soc, beside=(), whole=True).memory == memory


def test_known_boards_begin_with_linuxs_tree(imports: Imports) -> None:
    imports("Zybo-Z7-20")
    source = imports.text("Zybo-Z7-20", "devicetree/zynq-zybo-z7-20-board.dts")
    assert '#include "zynq-zybo-z7.dts"' in source
    assert "mmc0 = &sdhci0;" in source, "Linux's tree lacks it"
    assert 'pynq_board = "Zybo-Z7-20";' in source


# The hardware export


def export(path: Path, soc: Soc, **parameters: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {"design_1.hwh": hwh(soc, parameters=parameters), **start_up(soc)}
    make_xsa(path, files)


def gigabyte_and_second_uart(path: Path) -> None:
    export(
        path,
        Soc.ZYNQ,
        PCW_DDR_RAM_HIGHADDR="0x3FFFFFFF",
        PCW_UART0_PERIPHERAL_ENABLE="0",
        PCW_UART1_PERIPHERAL_ENABLE="1",
        PCW_UART1_UART1_IO="MIO 48 .. 49",
        PCW_UART1_BAUD_RATE="921600",
    )


@pytest.fixture
def exported(imports: Imports) -> Path:
    """A board of which nothing is known but its export, and what it adds to the device tree."""
    board = imports.source / "Robot"
    gigabyte_and_second_uart(board / "petalinux_bsp/hardware_project/robot.xsa")
    (board / "Robot.spec").write_text("ARCH_Robot := arm\nBSP_Robot :=\n")
    (board / DTSI).parent.mkdir(parents=True)
    (board / DTSI).write_text(
        '/include/ "system-conf.dtsi"\n/ { usb_phy0: phy0@e0002000 { #phy-cells = <0>; }; };\n'
        "&gem0 { phy-handle = <&phy>; phy: ethernet-phy@7 { reg = <7>; }; };\n"
    )
    return board


def test_the_hardware_export_says_what_the_board_is(imports: Imports, exported: Path) -> None:
    report = imports("Robot")
    assert not report.problems
    keys = yaml.safe_load(imports.text("Robot", "board.yaml"))
    assert keys["memory"] == "1G"
    assert keys["console"] == "ttyPS0,921600"
    source = imports.text("Robot", keys["devicetree"])
    assert "serial0 = &uart1;" in source
    assert "reg = <0x0 0x40000000>;" in source
    assert 'stdout-path = "serial0:921600n8";' in source
    assert 'pynq_board = "Robot";' in source
    # The additions come last but for what images need; no label is given twice.
    included = [line for line in source.splitlines() if line.startswith("#include")]
    assert included[-2:] == [
        '#include "zynq-robot-board-system-user.dtsi"',
        '#include "pynq-pl-zynq.dtsi"',
    ]
    assert "usb_phy0:" not in source
    person = said(report, Outcome.PERSON, "Robot.spec")
    assert not [what for what in person if "assumed" in what]
    (what,) = [w for w in said(report, Outcome.CONVERTED, "Robot.spec") if "export" in w]
    assert "UART 1, SD 0, Ethernet 0" in what


def test_memory_of_the_additions_goes_before_the_exports(imports: Imports, exported: Path) -> None:
    with (exported / DTSI).open("a") as file:
        file.write("/ { memory { reg = <0x0 0x20000000>; }; };\n&qspi { };\n")
    report = imports("Robot")
    assert yaml.safe_load(imports.text("Robot", "board.yaml"))["memory"] == "512M"
    assert any(
        "memory 512M, which is used, the hardware export 1G" in what
        for what in said(report, Outcome.PERSON, "Robot.spec")
    )
    source = imports.text("Robot", "devicetree/zynq-robot-board.dts")
    assert "memory@0" not in source, "two nodes would be counted as both"
    # The design has no QSPI controller: its label is there all the same.
    assert '#include "zynq-robot-board-qspi.dtsi"' in source
    assert "qspi: spi@e000d000" in imports.text("Robot", "devicetree/zynq-robot-board-qspi.dtsi")


def test_an_export_that_is_of_no_use_is_said_and_the_usual_is_assumed(
    imports: Imports, exported: Path
) -> None:
    export(exported / "petalinux_bsp/hardware_project/robot.xsa", Soc.ZYNQMP)
    report = imports("Robot")
    person = said(report, Outcome.PERSON, "Robot.spec")
    assert any(
        "hardware/robot.xsa was not used: its design is for zynqmp" in what for what in person
    )
    assert any("assumed, since no file specifies it" in what for what in person)


# The kernel


def test_fragments_lose_what_only_amds_kernel_has(imports: Imports) -> None:
    report = imports("e200")
    lines = imports.text("e200", "kernel/radio.cfg").splitlines()
    assert lines[2:] == [
        "# only in AMD's kernel: CONFIG_XILINX_APF=y",
        "CONFIG_SPI_SPIDEV=y",
        "# only in AMD's kernel: CONFIG_XILINX_FCLK is not set",
    ]
    path = f"{LINUX}/linux-xlnx/radio.cfg"
    assert len(said(report, Outcome.LEFT, path)) == 2
    assert said(report, Outcome.LEFT, f"{LINUX}/linux-xlnx/left.cfg")
    # PetaLinux gets it as it was.
    kept = imports.text("e200", path)
    assert kept == BOARDS["e200"][path]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (f"{LINUX}/linux-xlnx_%.bbappend", "`:append`"),
        (f"{LINUX}/linux-xlnx/0001-radio.patch", "mainline applies no patches"),
        (f"{LAYER}/conf/layer.conf", "LAYERSERIES_COMPAT"),
        (f"{LAYER}/recipes-modules/radio/radio_1.0.bb", "kernel modules"),
        (f"{LAYER}/recipes-apps/hello/hello.bb", "does not build this part"),
    ],
)
def test_parts_of_the_user_layer_that_want_a_look(imports: Imports, path: str, what: str) -> None:
    assert any(what in each for each in said(imports("e200"), Outcome.PERSON, path))


TRANSCEIVER = """\
/ { usb_phy0: phy0@e0002000 { compatible = "ulpi-phy"; reg = <0xe0002000 0x1000>; }; };
&usb0 { usb-phy = <&usb_phy0>; };
"""


def test_a_transceiver_of_amds_is_what_the_controller_waits_for() -> None:
    tree = read_user_tree(TRANSCEIVER, Soc.ZYNQ, beside=(), whole=True)
    assert "&usb0 { phys = <&usb_phy0>; };" in tree.text
    assert not tree.remarks
    other = read_user_tree("&dwc3_0 { usb-phy = <&p>; };\n", Soc.ZYNQMP, beside=(), whole=False)
    assert "usb-phy = <&p>" in other.text


@pytest.mark.parametrize("user", [None, TRANSCEIVER], ids=["Linux's alone", "with additions"])
def test_a_board_that_linux_knows_has_power_at_its_usb_port(user: str | None) -> None:
    told = read_user_tree(user, Soc.ZYNQ, beside=(), whole=False) if user else None
    source = board_tree(
        "Z",
        Soc.ZYNQ,
        model="zynq-zed.dts",
        user=("z-user.dtsi", told) if told else None,
        memory=1 << 29,
        aliases={},
    )
    # A label may be given once.
    assert ("/delete-node/ &usb_phy0;" in source) == bool(user)
    assert ("drv-vbus;" in source) == (not user)
    assert "&usb0 {\n\tphys = <&usb_phy0>;\n};" in source
