# SPDX-License-Identifier: MIT
"""New boards from the command line, complete or not at all."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from builder.board_generator import board as module
from builder.board_generator.board import OVERLAY
from builder.bsp.mainline.mainline import boot_artifacts
from builder.bsp.ps7.check import read_parameters
from builder.cli.context import typed
from builder.errors import UserError
from builder.formats.bitstream import loadable
from builder.spec.models import FORMAT, Soc
from builder.spec.reader import SpecTree
from builder.spec.resolve import ImageSpec, resolve
from tests.fixtures.command_line import Answer, CommandLine, FakeArchive
from tests.fixtures.exports import bitstream, hwh, make_xsa, start_up
from tests.fixtures.product import ROOT


class Maker:
    """A maker of boards, with hardware exports of both families and a directory for boards."""

    def __init__(self, folder: Path, command_line: CommandLine) -> None:
        self.folder = folder
        self.boards = folder / "new"
        self._build_py = command_line

    def xsa(self, soc: Soc, **more: str | bytes) -> Path:
        files = {"design_1.hwh": hwh(soc), "design_1.bit": bitstream(), **start_up(soc), **more}
        return make_xsa(self.folder / f"{soc.value}.xsa", files)

    def hwh(self, soc: Soc, *, board: str = "") -> Path:
        path = self.folder / f"{soc.value}.hwh"
        path.write_text(hwh(soc, board=board))
        return path

    def __call__(self, export: Path, *words: str, name: str = "New") -> Answer:
        place = ("--directory", str(self.boards))
        return self._build_py("new-board", name, "--xsa", str(export), *place, *words)

    def spec(self, name: str = "New") -> ImageSpec:
        return resolve(SpecTree(root=ROOT, boards_dirs=(self.boards,)), name)


@pytest.fixture
def maker(tmp_path: Path, build_py: CommandLine) -> Maker:
    return Maker(tmp_path, build_py)


def test_the_readmes_commands_can_be_pasted_in_the_checkout(maker: Maker) -> None:
    maker.boards = maker.folder / "our boards"
    assert maker(maker.xsa(Soc.ZYNQ), "--profile", "minimal").status == 0
    readme = (maker.boards / "New/README.md").read_text()
    (line,) = (line for line in readme.splitlines() if line.startswith("./build.py --board"))
    program, *_, place = shlex.split(line)
    assert shlex.split(line)[1:4] == ["--board", "New", "--boards-dir"]
    assert (ROOT / program).is_file()
    assert not place.startswith("/")
    assert (ROOT / place).resolve() == maker.boards


def files_of(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("soc", Soc)
def test_a_whole_board(maker: Maker, soc: Soc) -> None:
    export = maker.xsa(soc)
    made = maker(export, "--profile", "minimal")
    assert made.status == 0, made.errors
    command = typed("--board", "New", "--boards-dir", os.path.relpath(maker.boards))
    assert f"  build it:       {command}\n" in made.output
    assert files_of(maker.boards / "New") == {
        "board.yaml",
        "README.md",
        f"devicetree/new-{soc.value}.dts",
        "hardware/New.xsa",
        "tests/test_new.py",
        f"recipes/{OVERLAY}/recipe.yaml",
        f"recipes/{OVERLAY}/New.dtso",
        f"recipes/{OVERLAY}/firmware/New.bin",
        f"recipes/{OVERLAY}/firmware/README",
        f"recipes/{OVERLAY}/files/pl-overlay",
        f"recipes/{OVERLAY}/files/pl-overlay.service",
        f"recipes/{OVERLAY}/scripts/host.sh",
        f"recipes/{OVERLAY}/scripts/target.sh",
        f"recipes/{OVERLAY}/test_pl_overlay.py",
    }
    assert (maker.boards / "New/hardware/New.xsa").read_bytes() == export.read_bytes()
    spec = maker.spec()
    assert (spec.board.soc, spec.board.profile, spec.board.console) == (
        soc,
        "minimal",
        "ttyPS0,115200",
    )
    assert spec.board.memory == {Soc.ZYNQ: 512 << 20, Soc.ZYNQMP: 4 << 30}[soc]
    assert spec.parameters()[OVERLAY] == {"load": False}, "the logic is not touched by itself"
    written = yaml.safe_load((maker.boards / "New/board.yaml").read_text())
    assert written["format"] == FORMAT, "a later builder knows how to read it"


def test_what_it_writes_can_be_read(maker: Maker) -> None:
    maker(maker.xsa(Soc.ZYNQ))
    new = maker.boards / "New"
    for script in ("files/pl-overlay", "scripts/host.sh", "scripts/target.sh"):
        subprocess.run(["sh", "-n", new / f"recipes/{OVERLAY}" / script], check=True)
    checks = [new / "tests/test_new.py", new / f"recipes/{OVERLAY}/test_pl_overlay.py"]
    for path in checks:
        compile(path.read_text(), str(path), "exec")
    program = Path(sys.executable).with_name("ruff")
    config = ("--config", str(ROOT / "pyproject.toml"), "--no-cache")
    subprocess.run([program, "check", *config, "--ignore", "ANN,S101", *checks], check=True)
    subprocess.run([program, "format", "--check", *config, *checks], check=True)
    readme = (new / "README.md").read_text()
    assert "{{" not in readme
    assert "Ethernet 0: address of the PHY" in readme
    assert "| `/leds` | axi_gpio | 0x41200000 | 0x10000 | 29 | `xlnx,xps-gpio-1.00.a` |" in readme
    assert "Read this first" not in readme
    # Each row of a table has as many cells as the one before.
    rows = [line for line in readme.splitlines() if line.startswith("|")]
    for before, row in pairwise(rows):
        if not row.startswith("| item") and not row.startswith("| block"):
            assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"(?<!\\)\|", before)), row


def test_without_start_up_code_a_table_stands_in_loudly(maker: Maker) -> None:
    made = maker(maker.hwh(Soc.ZYNQ), "--profile", "minimal")
    assert made.status == 0, made.errors
    assert "but probably not on a board" in made.output
    new = maker.boards / "New"
    assert "**Read this first.**" in (new / "README.md").read_text()
    spec = maker.spec()
    table = spec.board.bsp.start_up_table
    assert table
    assert table.stand_in
    parameters = read_parameters(new / "ps7/New.parameters.yaml")
    assert parameters["PCW_CRYSTAL_PERIPHERAL_FREQMHZ"] == "50"
    assert "<Select>" not in parameters.values()
    (note,) = boot_artifacts(spec, FakeArchive()).notes
    assert "do NOT expect it to boot a board" in note
    assert str(new / "hardware/New.xsa") in note
    # With the export where the note says, the first stage is the board's own.
    (new / "hardware").mkdir()
    maker.xsa(Soc.ZYNQ).rename(new / "hardware/New.xsa")
    assert not boot_artifacts(maker.spec(), FakeArchive()).notes


def test_what_the_stand_in_contradicts_is_told(maker: Maker) -> None:
    text = hwh(Soc.ZYNQ, parameters={"PCW_UIPARAM_DDR_BUS_WIDTH": "32 Bit"})
    path = maker.folder / "x.hwh"
    path.write_text(text)
    made = maker(path)
    assert "DDR width: PCW_UIPARAM_DDR_BUS_WIDTH says 32 Bit" in made.output


def test_of_many_contradictions_the_first_are_told(maker: Maker) -> None:
    voltages = {f"PCW_MIO_{pin}_IOTYPE": "HSTL 1.8V" for pin in range(16, 28)}
    path = maker.folder / "x.hwh"
    path.write_text(hwh(Soc.ZYNQ, parameters=voltages))
    made = " ".join(maker(path).output.split())
    assert "MIO 25 voltage: PCW_MIO_25_IOTYPE says HSTL 1.8V" in made
    assert "; and 2 more, which the build lists" in made
    assert "MIO 26" not in made


@pytest.mark.parametrize(
    ("like", "label", "known"),
    [("ZCU111", "can0", False), ("Pynq-Z2", "qspi", True)],
)
def test_a_variants_tree_says_of_the_other_board_what_is_in_its_source(
    maker: Maker, like: str, label: str, *, known: bool
) -> None:
    soc = {"ZCU111": Soc.ZYNQMP, "Pynq-Z2": Soc.ZYNQ}[like]
    maker(maker.xsa(soc), "--like", like)
    tree = (maker.boards / f"New/devicetree/new-{soc.value}.dts").read_text()
    (comment,) = re.findall(rf"/\* (.*) \*/\n&{label} \{{", tree)
    has = f"{like} has it, but this design" if known else "This design"
    assert comment == f"{has} does not enable it."


def test_a_table_that_u_boot_does_not_have_is_refused(maker: Maker) -> None:
    for export in (maker.hwh(Soc.ZYNQMP), maker.xsa(Soc.ZYNQMP)):
        made = maker(export, "--start-up-table", "zynqmp-zcu106-revB")
        assert made.status == UserError.exit_code
        assert "(did you mean zynqmp-zcu106-revA?)" in made.errors
        assert not maker.boards.exists()


def test_a_table_that_is_not_needed_is_not_passed_over_without_a_word(maker: Maker) -> None:
    made = maker(maker.xsa(Soc.ZYNQMP), "--start-up-table", "zynqmp-zcu106-revA")
    assert made.status == 0
    assert (
        "table of zynqmp-zcu106-revA is not used: the export has this board's own psu_init_gpl.c"
        in made.output
    )


def test_known_boards_are_among_u_boots() -> None:
    known, tables = (
        yaml.safe_load((ROOT / f"builder/board_generator/{name}.yaml").read_text())
        for name in ("boards", "start_up_tables")
    )
    for family, boards in known.items():
        assert {*boards.values()} <= {*tables[family]}


def test_another_speed_of_the_console_is_said(maker: Maker) -> None:
    text = hwh(Soc.ZYNQ, parameters={"PCW_UART0_BAUD_RATE": "921600"})
    made = maker(maker.xsa(Soc.ZYNQ, **{"design_1.hwh": text}))
    assert "the design's console has 921600 baud" in made.output
    assert "U-Boot uses 115200 baud" in made.output
    assert "921600 baud: kernel" in (maker.boards / "New/README.md").read_text()
    assert maker.spec().board.console == "ttyPS0,921600"


@pytest.mark.parametrize(
    ("words", "board", "table", "stand_in"),
    [
        ((), "xilinx.com:zcu104:part0:1.1", "zynqmp-zcu104-revC", False),
        (("--start-up-table", "zynqmp-zcu106-revA"), "", "zynqmp-zcu106-revA", False),
        ((), "", "zynqmp-zcu102-rev1.0", True),
        (("--like", "ZCU111"), "", "zynqmp-zcu111-revA", True),
    ],
)
def test_tables_of_u_boot(
    maker: Maker, words: tuple[str, ...], board: str, table: str, *, stand_in: bool
) -> None:
    made = maker(maker.hwh(Soc.ZYNQMP, board=board), *words)
    assert made.status == 0, made.errors
    found = maker.spec().board.bsp.start_up_table
    assert found
    assert (found.u_boot, found.stand_in) == (table, stand_in)


def test_a_variant(maker: Maker) -> None:
    made = maker(maker.xsa(Soc.ZYNQ), "--like", "Pynq-Z2", "--profile", "minimal")
    assert made.status == 0, made.errors
    new = maker.boards / "New"
    written = yaml.safe_load((new / "board.yaml").read_text())
    assert written == {
        "format": FORMAT,
        "board": "New",
        "extends": "Pynq-Z2",
        "summary": "New, xc7z020clg400-1, 512 MB",
        "devicetree": "devicetree/new-zynq.dts",
        "bsp": {
            "hardware": {"xsa": "hardware/New.xsa", "optional": False},
            "start-up-table": None,
        },
        "profile": "minimal",
        "recipes+": [OVERLAY],
    }
    spec = maker.spec()
    assert spec.board.distro == ("ubuntu-jammy", "debian-bookworm")
    assert spec.hardware == "New"
    tree = (new / "devicetree/new-zynq.dts").read_text()
    assert '#include "zynq-pynq-z2.dtsi"' in tree
    original = ROOT / "boards/Pynq-Z2/devicetree/zynq-pynq-z2.dts"
    assert (new / "devicetree/zynq-pynq-z2.dtsi").read_bytes() == original.read_bytes()
    assert '&qspi {\n\tstatus = "disabled";' in tree, "this design has no flash"
    assert "everything copied from Pynq-Z2" in (new / "README.md").read_text()


def test_a_variant_whose_table_stands_in(maker: Maker) -> None:
    made = maker(maker.hwh(Soc.ZYNQ), "--like", "ZedBoard")
    assert made.status == 0, made.errors
    table = maker.spec().board.bsp.start_up_table
    assert table
    assert (table.u_boot, table.registers, table.stand_in) == ("zynq-zed", None, True)
    other = maker(maker.hwh(Soc.ZYNQ), "--like", "Pynq-Z2", name="Other")
    assert other.status == 0, other.errors
    table = maker.spec("Other").board.bsp.start_up_table
    assert table
    assert table.registers == "ps7/arty-z7.registers.yaml"
    assert table.parameters == "ps7/Other.parameters.yaml"


def test_a_board_in_its_own_directory(maker: Maker, build_py: CommandLine) -> None:
    place = maker.folder / "elsewhere/New"
    export = str(maker.xsa(Soc.ZYNQ))
    made = build_py("new-board", "New", "--xsa", export, "--directory", str(place))
    assert made.status == 0, made.errors
    assert (place / "board.yaml").is_file()
    assert [path.name for path in place.parent.iterdir()] == ["New"]


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("Pynq-Z2", (), "the board Pynq-Z2 already exists"),
        ("../New", (), "'../New' is not a valid name for a board"),
        (".New", (), "'.New' is not a valid name for a board"),
        (
            "New",
            ("--profile", "minimum"),
            "--profile minimum: no such profile (did you mean minimal?)",
        ),
        ("New", ("--like", "Pinq-Z2"), "--like Pinq-Z2: no such board (did you mean"),
        ("New", ("--like", "ZCU111"), "--like ZCU111: its family is zynqmp, the export's is zynq"),
        ("New", ("--console", "1"), "--console 1: the design has no such UART"),
    ],
)
def test_what_is_refused(maker: Maker, name: str, words: tuple[str, ...], message: str) -> None:
    refused = maker(maker.xsa(Soc.ZYNQ), *words, name=name)
    assert refused.status == 2
    assert message in refused.errors
    assert not maker.boards.exists()


def test_nothing_is_overwritten(maker: Maker) -> None:
    there = maker.boards / "New"
    there.mkdir(parents=True)
    (there / "mine").write_text("mine")
    refused = maker(maker.xsa(Soc.ZYNQ))
    assert refused.status == 2
    assert "already exists; nothing was changed" in refused.errors
    assert files_of(maker.boards) == {"New/mine"}


def test_a_board_that_comes_in_between_stays(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(*_: object) -> None:
        (maker.boards / "New").mkdir()
        (maker.boards / "New/mine").write_text("mine")

    monkeypatch.setattr(module, "resolve", meanwhile)
    refused = maker(maker.xsa(Soc.ZYNQ))
    assert refused.status == 2
    assert files_of(maker.boards) == {"New/mine"}


@pytest.mark.parametrize("files", [{"design_1.bit": b"no bits"}, {"ps7_init_gpl.c": b"int x;"}])
def test_half_a_board_is_not_left_behind(maker: Maker, files: dict[str, bytes]) -> None:
    refused = maker(maker.xsa(Soc.ZYNQ, **files))
    assert refused.status == 2
    assert not maker.boards.exists()


def test_an_interrupted_one_is_not_left_behind(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "resolve", stop)
    assert maker(maker.xsa(Soc.ZYNQ)).status == 130
    assert not maker.boards.exists()


def test_no_logic_no_recipe(maker: Maker) -> None:
    path = maker.folder / "x.hwh"
    path.write_text(hwh(Soc.ZYNQ, parts={}, parameters={"PCW_I2C1_PERIPHERAL_ENABLE": "0"}))
    assert maker(path).status == 0
    assert not (maker.boards / "New/recipes").exists()
    assert OVERLAY not in (maker.boards / "New/board.yaml").read_text()


def test_which_bitstream(maker: Maker) -> None:
    listed = '<Project><File Type="BIT" Name="b.bit"/></Project>'
    export = maker.xsa(
        Soc.ZYNQ, **{"b.bit": bitstream(b"\xaa\x99\x55\x66" * 2), "sysdef.xml": listed.encode()}
    )
    assert maker(export).status == 0
    firmware = maker.boards / f"New/recipes/{OVERLAY}/firmware"
    assert (firmware / "New.bin").read_bytes() == b"\x66\x55\x99\xaa" * 2
    # Two, and nobody says which one is the whole.
    assert maker(maker.xsa(Soc.ZYNQ, **{"b.bit": bitstream()}), name="Two").status == 0
    assert "The export has no bitstream" in (maker.boards / "Two/README.md").read_text()


@pytest.mark.parametrize(
    "bit",
    [b"", bitstream()[:-4], bitstream(b"\xff" * 64), bitstream(b"\xaa\x99\x55\x66\0")],
    ids=["empty", "cut off", "no synchronization word", "no whole words"],
)
def test_what_is_no_bitstream(bit: bytes) -> None:
    with pytest.raises(UserError, match="x is not a bitstream"):
        loadable(bit, origin="x")


def test_hardware_shows_what_is_in_an_export(maker: Maker, build_py: CommandLine) -> None:
    shown = build_py("hardware", str(maker.xsa(Soc.ZYNQ)))
    assert shown.status == 0, shown.errors
    for words in (
        r"part +xc7z020clg400-1 \(zynq\)",
        r"start-up code +ps7_init_gpl\.c",
        r"Ethernet 0 +MIO 16 \.\. 27 +mdio MIO 52 \.\. 53, reset MIO 9",
        r"programmable logic: 6 blocks",
        r"0x41210000 +0x10000 +/dma +axi_dma +xlnx,axi-dma-1\.00\.a +interrupt 30",
    ):
        assert re.search(words, shown.output), words
    assert build_py("hardware", str(maker.folder)).status == 2
