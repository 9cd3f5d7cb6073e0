# SPDX-License-Identifier: MIT
"""Boards of sdbuild in many forms: what becomes of them, file by file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.errors import UserError
from builder.sdbuild import facts
from builder.sdbuild.devicetree import read_user_tree
from builder.sdbuild.importer import Wish, find_boards, import_board
from builder.sdbuild.report import Outcome, Report
from builder.sdbuild.specification import Specification, read_specification
from builder.spec.models import Soc
from builder.spec.reader import Tree
from builder.spec.resolve import resolve
from tests.unit.command_line import TREE, CommandLine
from tests.unit.sdbuild.repository import BOARDS, LAYER, LINUX, write_board
from tests.unit.sdbuild.repository import TREE as DTSI

PLANNABLE = [name for name in BOARDS if name not in ("RFSoC4x2", "Ultra96", "VCK190")]


class Imports:
    """Imports boards of the made-up repository."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "repository"
        self.target = folder / "boards"

    def write(self, name: str) -> Path:
        return write_board(self.source, name)

    def __call__(self, name: str, **wish: Any) -> Report:
        source = self.source / name
        if not source.exists():
            self.write(name)
        return import_board(source, self.target, TREE, Wish(**wish))

    def keys(self, name: str, **wish: Any) -> dict[str, Any]:
        self(name, **wish)
        found: dict[str, Any] = yaml.safe_load(self.text(name, "board.yaml"))
        return found

    def text(self, name: str, file: str) -> str:
        return (self.target / name / file).read_text()

    def bsp(self, name: str, **wish: Any) -> Any:
        return self.keys(name, **wish)["bsp"]

    def wrote(self) -> list[str]:
        return sorted(path.name for path in self.target.iterdir()) if self.target.exists() else []


@pytest.fixture
def imports(tmp_path: Path) -> Imports:
    return Imports(tmp_path)


def said(report: Report, outcome: Outcome, path: str, line: int = 0) -> list[str]:
    return [
        each.what for each in report.of(outcome) if each.path == path and line in (0, each.line)
    ]


# All of them


@pytest.mark.parametrize("name", sorted({*BOARDS} - {"VCK190"}))
def test_every_file_is_accounted_for(imports: Imports, name: str) -> None:
    assert imports(name).files == set(BOARDS[name])


@pytest.mark.parametrize("name", PLANNABLE)
def test_the_result_is_a_board_that_can_be_planned(imports: Imports, name: str) -> None:
    report = imports(name)
    assert report.problems == []
    spec = resolve(Tree(root=TREE.root, boards_dirs=(imports.target,)), name)
    assert spec.board.board == name
    assert {"pynq", "network"} & {recipe.name for recipe in spec.recipes}


@pytest.mark.parametrize("name", BOARDS)
def test_the_source_stays_as_it_is(imports: Imports, name: str) -> None:
    folder = imports.write(name)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    imports(name)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("RFSoC4x2", "bsp.hardware.xsa: there is no file "),
        ("Ultra96", "bsp.petalinux.bsp.file: there is no file "),
    ],
)
def test_what_is_missing_before_a_build_is_said(imports: Imports, name: str, problem: str) -> None:
    report = imports(name)
    assert any(problem in line for line in report.problems)
    assert "NOT ready to be planned" in report.summary


# board.yaml


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("e200", "soc", "zynq"),
        ("e200", "memory", "512M"),
        ("e200", "recipes", ["radio"]),
        ("e200", "overlays", ["base"]),
        ("e200", "notebooks", "notebooks"),
        ("e200", "devicetree", "devicetree/zynq-e200-board.dts"),
        ("AUP-ZU3", "memory", "4G"),
        ("AUP-ZU3", "soc", "zynqmp"),
        ("AUP-ZU3", "recipes", None),
        ("SURFv6revB", "root-device", "/dev/mmcblk1p2"),
        ("SURFv6revB", "boot-overlay", "base"),
        ("Zybo-Z7-20", "memory", "1G"),
        ("Zybo-Z7-20", "overlays", [{"directory": "base", "optional": True}]),
        ("ZCU104", "memory", "2G"),
        ("ZCU104", "recipes", ["sensors"]),
        ("Ultra96", "overlays", ["sensors96b"]),
        ("ZedBoard-ADI", "recipes", None),
        ("Pynq-ZED", "recipes", ["boot_leds"]),
    ],
)
def test_keys_of_board_yaml(imports: Imports, name: str, key: str, value: object) -> None:
    assert imports.keys(name).get(key) == value


@pytest.mark.parametrize(
    ("name", "wish", "bsp"),
    [
        (
            "e200",
            {},
            {
                "provider": "mainline",
                "petalinux": {"bitstream": "base/base.bit"},
                "hardware": {"xsa": "hardware/system.xsa"},
                "kernel-fragments": ["kernel/radio.cfg"],
            },
        ),
        (
            "ZedBoard-ADI",
            {"provider": "petalinux"},
            {
                "provider": "petalinux",
                "petalinux": {"bsp": {"file": "ZedBoard-ADI.bsp"}, "bitstream": "system_top.bit"},
                "start-up-table": {"u-boot": "zynq-zed"},
            },
        ),
        ("Pynq-ZED", {}, {"provider": "mainline", "start-up-table": {"u-boot": "zynq-zed"}}),
        (
            "Pynq-ZED",
            {"like": "Pynq-Z2"},
            {
                "provider": "mainline",
                "start-up-table": {
                    "registers": "ps7/arty-z7.registers.yaml",
                    "parameters": "ps7/pynq-z2.parameters.yaml",
                },
            },
        ),
        (
            "SURFv6revB",
            {},
            {
                "provider": "mainline",
                "petalinux": {"bsp": {"file": "SURFv6revB.bsp"}, "bitstream": "base/base.bit"},
                "hardware": {"xsa": "hardware/SURFv6revB.xsa"},
                "firmware": {"pmu": {"file": "firmware/pmufw.elf"}},
            },
        ),
        (
            "Ultra96",
            {},
            {
                "provider": "petalinux",
                "petalinux": {
                    "bsp": {"file": "sensors96b_v1.bsp"},
                    "bitstream": "sensors96b/sensors96b.bit",
                },
                "firmware": {"pmu": {"file": "firmware/pmufw.elf", "optional": True}},
            },
        ),
    ],
)
def test_who_makes_the_boot_files_and_from_what(
    imports: Imports, name: str, wish: dict[str, Any], bsp: dict[str, Any]
) -> None:
    assert imports.bsp(name, **wish) == bsp


# The hardware


def test_export_and_firmware_come_out_of_the_bsp(imports: Imports) -> None:
    imports("SURFv6revB")
    place = imports.target / "SURFv6revB"
    # The project's own export, not the one that a design left in `hardware/`.
    assert (place / "hardware/SURFv6revB.xsa").read_bytes()[:2] == b"PK"
    assert (place / "firmware/pmufw.elf").read_bytes() == b"\x7fELF pmu"


def test_a_bsp_that_is_none_is_said(imports: Imports) -> None:
    (imports.write("SURFv6revB") / "SURFv6revB.bsp").write_bytes(b"no archive")
    report = imports("SURFv6revB")
    (what,) = said(report, Outcome.PERSON, "SURFv6revB.bsp")
    assert what.startswith("is no BSP of PetaLinux: ")


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
    with pytest.raises(UserError, match="cannot be had"):
        imports("RFSoC4x2", fetch=True)
    assert imports.wrote() == []


def test_a_board_like_one_of_the_tree_has_its_tree_under_its_own_name(imports: Imports) -> None:
    report = imports("Pynq-ZED", like="Pynq-Z2")
    source = imports.text("Pynq-ZED", "devicetree/zynq-pynq-zed-board.dts")
    assert 'pynq_board = "Pynq-ZED";' in source
    assert (imports.target / "Pynq-ZED/ps7/arty-z7.registers.yaml").is_file()
    assert any(
        "those of Pynq-Z2: see if they fit" in what
        for what in said(report, Outcome.PERSON, "Pynq-ZED.spec")
    )


def test_a_board_of_the_trees_own_name_is_that_board(imports: Imports) -> None:
    report = imports("Pynq-Z2")
    assert (imports.target / "Pynq-Z2/ps7/arty-z7.registers.yaml").is_file()
    assert any("of this tree" in what for what in said(report, Outcome.CONVERTED, "Pynq-Z2.spec"))
    assert any("add what that lacks" in what for what in said(report, Outcome.PERSON, DTSI))


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ("Pynq-Z3", "--like Pynq-Z3: no such board (did you mean Pynq-Z2?)"),
        ("ZCU111", "--like ZCU111: it is zynqmp, Pynq-ZED is zynq"),
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
    assert "qspi: spi@e000d000" in source, "Linux 6.1 does not have it"
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
        ("bootargs", "bootargs cma=64M quiet: not taken over"),
        ("dma@40400000", "dma@40400000 is in the programmable logic"),
        ("axi_gpio_0", "&axi_gpio_0 is no label of zynq-7000.dtsi"),
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


# The kernel


def test_fragments_lose_what_only_amds_kernel_has(imports: Imports) -> None:
    report = imports("e200")
    lines = imports.text("e200", "kernel/radio.cfg").splitlines()
    assert lines[2:] == [
        "# of AMD's kernel: CONFIG_XILINX_APF=y",
        "CONFIG_SPI_SPIDEV=y",
        "# of AMD's kernel: CONFIG_XILINX_FCLK is not set",
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


# Packages


def test_a_boards_own_package_is_used_as_it_is(imports: Imports) -> None:
    report = imports("e200")
    recipe = yaml.safe_load(imports.text("e200", "recipes/radio/recipe.yaml"))
    assert recipe == {
        "summary": "sdbuild's package radio, as it is",
        "board-specific": True,
        "legacy": {"package": "radio", "board-files": ["notebooks/welcome.ipynb"]},
    }
    for name in ("pre.sh", "qemu.sh", "post.sh", "radio.conf"):
        path = f"packages/radio/{name}"
        assert imports.text("e200", f"recipes/radio/radio/{name}") == BOARDS["e200"][path]
        assert said(report, Outcome.AS_IT_IS, path)
    assert said(report, Outcome.LEFT, "packages/radio/Makefile")
    assert "and so no board" in said(report, Outcome.AS_IT_IS, "packages/spare/qemu.sh")[0]


@pytest.mark.parametrize(
    ("board", "path", "line", "what"),
    [
        ("e200", "packages/radio/qemu.sh", 2, "there is no virtual environment"),
        ("e200", "packages/radio/qemu.sh", 3, "`pip3 install` wants the network"),
        ("e200", "packages/radio/qemu.sh", 4, "write python3"),
        ("e200", "packages/spare/qemu.sh", 1, "`apt-get -y install` wants the network"),
        ("Ultra96", "packages/wilc3000/pre.sh", 1, "there is no PetaLinux project"),
        ("Ultra96", "packages/wilc3000/pre.sh", 2, "no loop devices"),
        ("Ultra96", "packages/wilc3000/qemu.sh", 1, "`git -C /x clone` wants the network"),
        ("Ultra96", "packages/wilc3000/qemu.sh", 2, "`wget` wants the network"),
        ("Ultra96", "packages/usb-eth0/pre.sh", 1, "ifupdown is not installed"),
    ],
)
def test_what_in_a_script_does_not_work_here_is_said_with_its_line(
    imports: Imports, board: str, path: str, line: int, what: str
) -> None:
    assert any(what in each for each in said(imports(board), Outcome.PERSON, path, line))


def test_comments_of_scripts_say_nothing(imports: Imports) -> None:
    report = imports("e200")
    assert not said(report, Outcome.PERSON, "packages/radio/pre.sh", 3), "# git clone x"


def test_a_package_named_like_a_recipe_does_not_take_its_place(imports: Imports) -> None:
    folder = imports.write("Pynq-ZED")
    (folder / "packages/ethernet").mkdir()
    (folder / "packages/boot_leds").rename(folder / "packages/network")
    (folder / "packages/ethernet/post.sh").write_text("")
    spec = folder / "Pynq-ZED.spec"
    spec.write_text(spec.read_text().replace("boot_leds", "network"))
    keys = imports.keys("Pynq-ZED")
    # The board's own takes the place of sdbuild's, not of this tree's recipe.
    assert keys["recipes"] == ["ethernet", "network-package"]
    recipe = yaml.safe_load(imports.text("Pynq-ZED", "recipes/network-package/recipe.yaml"))
    assert recipe["legacy"]["package"] == "network"


def test_a_package_without_scripts_does_nothing_as_in_sdbuild(imports: Imports) -> None:
    folder = imports.write("Pynq-ZED")
    for name in ("pre.sh", "qemu.sh", "post.sh"):
        (folder / "packages/boot_leds" / name).unlink()
    report = imports("Pynq-ZED")
    assert report.problems == []
    assert "recipes" not in yaml.safe_load(imports.text("Pynq-ZED", "board.yaml"))
    assert any("it has no scripts" in what for what in said(report, Outcome.LEFT, "Pynq-ZED.spec"))
    assert said(report, Outcome.PERSON, "packages/boot_leds/leds.py")


@pytest.mark.parametrize("name", facts.packages())
def test_a_package_of_sdbuilds_has_recipes_or_a_reason(name: str) -> None:
    package = facts.packages()[name]
    assert bool(package.what) != bool(package.person)
    assert set(package.recipes) <= set(TREE.recipe_files())


@pytest.mark.parametrize(
    ("board", "line", "outcome", "what"),
    [
        ("e200", 5, Outcome.CONVERTED, "ethernet: by network: "),
        ("e200", 5, Outcome.CONVERTED, "sdcardshrink: no recipe: "),
        ("e200", 5, Outcome.AS_IT_IS, "radio: the board's own package, recipe radio"),
        ("Ultra96", 5, Outcome.PERSON, "juliabrot: neither a package of the board's nor "),
    ],
)
def test_what_stands_for_a_package(
    imports: Imports, board: str, line: int, outcome: Outcome, what: str
) -> None:
    found = said(imports(board), outcome, f"{board}.spec", line)
    assert any(each.startswith(what) for each in found)


# Designs


def test_designs_come_with_what_the_library_reads(imports: Imports) -> None:
    report = imports("e200")
    base = imports.target / "e200/base"
    found = {path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()}
    assert found == {"base.bit", "base.hwh", "base.py", "notebooks/start.ipynb"}
    assert said(report, Outcome.LEFT, "base/base.tcl")


def test_a_pointer_of_git_lfs_is_no_file(imports: Imports) -> None:
    report = imports("ZCU104")
    assert any("git lfs pull" in what for what in said(report, Outcome.PERSON, "base/base.bit"))
    assert not (imports.target / "ZCU104/base/base.bit").exists()


def test_links_are_followed_as_sdbuild_does(imports: Imports) -> None:
    folder = imports.write("Pynq-ZED")
    shared = imports.source / "shared"
    (shared / "base").mkdir(parents=True)
    (shared / "base/base.bit").write_bytes(b"bits")
    (folder / "base").symlink_to("../shared/base")
    (folder / "circle").symlink_to(".")
    (folder / "gone").symlink_to("nowhere")
    report = imports("Pynq-ZED")
    assert (imports.target / "Pynq-ZED/base/base.bit").read_bytes() == b"bits"
    assert said(report, Outcome.PERSON, "gone") == ["is a link that leads nowhere"]
    assert said(report, Outcome.PERSON, "circle") == ["is a link to a directory that it is in"]


# The specification


@pytest.mark.parametrize(
    ("text", "outcome", "line", "what"),
    [
        ("BSP_X := a b\n", Outcome.PERSON, 2, "BSP: one word is wanted: a b"),
        ("RFSoC_X := 1\n", Outcome.LEFT, 2, "RFSoC_X: "),
        ("BASE_X ?= x.tar\n", Outcome.LEFT, 2, "BASE_X: "),
        ("STAGE3_PACKAGES_X := a\n", Outcome.LEFT, 2, "STAGE3_PACKAGES_X: "),
        ("REMOTE_PACKAGES_X := a\n", Outcome.LEFT, 2, "REMOTE_PACKAGES_X: "),
        ("SDBOOT_X := sd0\n", Outcome.PERSON, 2, "SDBOOT: sd0 is no device"),
        ("SOMETHING := 1\n", Outcome.PERSON, 2, "SOMETHING is no variable of sdbuild's"),
        ("BSP_Y := a\n", Outcome.PERSON, 2, "BSP_Y is not of X, so sdbuild passes over it: taken"),
        ("BSP_X := a\nBSP_Y := b\n", Outcome.PERSON, 3, "BSP_Y is not of X: passed over"),
        ("FPGA_MANAGER_X := 0\n", Outcome.CONVERTED, 2, "the FPGA manager is always on here; "),
    ],
)
def test_lines_of_a_specification(
    tmp_path: Path, text: str, outcome: Outcome, line: int, what: str
) -> None:
    report = Report(board="X", source=tmp_path)
    specification(tmp_path, f"ARCH_X := arm\n{text}", report)
    assert any(each.startswith(what) for each in said(report, outcome, "X.spec", line))


def specification(folder: Path, text: str, report: Report) -> Specification:
    (folder / "X.spec").write_text(text)
    return read_specification(folder / "X.spec", report)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("BSP_X := x\n", "X.spec:1: ", "ARCH_X is missing (one of arm, aarch64)"),
        ("\nARCH_X := armv7\n", "X.spec:2: ", "ARCH_X must be one of arm, aarch64, not armv7"),
    ],
)
def test_a_specification_without_an_architecture_is_refused(
    tmp_path: Path, text: str, where: str, what: str
) -> None:
    with pytest.raises(UserError) as caught:
        specification(tmp_path, text, Report(board="X", source=tmp_path))
    assert caught.value.message == f"{tmp_path}/{where}{what}"
    assert caught.value.exit_code == 2


def test_conditions_are_for_a_person(imports: Imports) -> None:
    report = imports("AUP-ZU3")
    lines = {each.line for each in report.of(Outcome.PERSON) if "condition" in each.what}
    assert lines == {4, 5, 7}
    assert not [each for each in report.of(Outcome.PERSON) if "PACKAGES is no" in each.what]


# Places, and the command


def test_boards_of_a_repository_are_found(tmp_path: Path) -> None:
    for name in ("e200", "Ultra96"):
        write_board(tmp_path / "boards", name)
    for place, names in [
        (tmp_path, ["Ultra96", "e200"]),
        (tmp_path / "boards", ["Ultra96", "e200"]),
        (tmp_path / "boards/e200", ["e200"]),
    ]:
        assert [path.name for path in find_boards(place)] == names


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_place_without_boards_is_an_error(tmp_path: Path, folder: str) -> None:
    with pytest.raises(UserError):
        find_boards(tmp_path / folder)


def test_what_is_there_is_not_overwritten(imports: Imports) -> None:
    imports("Pynq-ZED")
    with pytest.raises(UserError, match="exists already") as caught:
        imports("Pynq-ZED")
    assert "--to" in (caught.value.hint or "")


def test_a_directory_with_another_name_than_its_spec_is_an_error(imports: Imports) -> None:
    folder = imports.write("Pynq-ZED")
    folder = folder.rename(folder.with_name("Other"))
    with pytest.raises(UserError, match=r"has no Other\.spec, but Pynq-ZED\.spec"):
        import_board(folder, imports.target, TREE, Wish())


def test_a_versal_board_is_reported_and_nothing_is_written(imports: Imports) -> None:
    report = imports("VCK190")
    assert report.directory is None
    assert imports.wrote() == []
    assert "nothing was written" in report.summary


def test_the_command_says_what_a_person_has_to_do_first(
    build_py: CommandLine, tmp_path: Path
) -> None:
    write_board(tmp_path / "old", "e200")
    answer = build_py("import-spec", str(tmp_path / "old"), "--to", str(tmp_path / "new"))
    assert answer.status == 0
    lines = answer.output.splitlines()
    assert lines[0].startswith(f"e200: {tmp_path}/new/e200: can be planned (")
    titles = ["needs a person:", "converted:", "used as it is:", "left out, since nothing here"]
    found = [next(i for i, line in enumerate(lines) if line.startswith(each)) for each in titles]
    assert found == sorted(found)
    assert "  packages/radio/: 4 files: recipe radio" in lines
    assert any(line.startswith("  next: build.py plan --board e200 ") for line in lines)


def test_the_command_reports_as_json(build_py: CommandLine, tmp_path: Path) -> None:
    for name in ("e200", "RFSoC4x2", "Pynq-ZED"):
        write_board(tmp_path / "old", name)
    answer = build_py(
        *("import-spec", str(tmp_path / "old"), "--to", str(tmp_path / "new"), "--json"),
        *("--board", "e200", "--board", "RFSoC4x2"),
    )
    assert answer.status == 0
    ready, waiting = json.loads(answer.output)
    assert (ready["board"], ready["plannable"], ready["problems"]) == ("e200", True, [])
    assert (waiting["board"], waiting["plannable"]) == ("RFSoC4x2", False)
    assert waiting["problems"]
    assert ready["directory"] == str(tmp_path / "new/e200")
    assert {each["path"] for each in ready["findings"]} == set(BOARDS["e200"])
    outcomes = {each["outcome"] for each in ready["findings"]}
    assert outcomes == {"person", "converted", "as it is", "left out"}
    assert {"path": "e200.spec", "line": 1, "outcome": "converted", "what": "soc: zynq"} in ready[
        "findings"
    ]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nowhere"], "error: there is no directory "),
        (
            ["old", "--board", "e100"],
            "error: old has no board e100\nhint: it has Pynq-ZED, e200",
        ),
        (["old", "--like", "x"], "error: 2 boards could not be read"),
        (["old", "--bsp", "prebuilt"], "usage: "),
    ],
)
def test_mistakes_of_the_command_are_one_line_and_exit_code_2(
    build_py: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("e200", "Pynq-ZED"):
        write_board(tmp_path / "old", name)
    answer = build_py("import-spec", *words, "--to", "new")
    assert answer.status == 2
    assert answer.errors.startswith(error)


def test_boards_that_can_be_read_are_converted_whatever_the_others_are(
    build_py: CommandLine, tmp_path: Path
) -> None:
    for name in ("e200", "Pynq-ZED"):
        write_board(tmp_path / "old", name)
    (tmp_path / "old/Pynq-ZED/Pynq-ZED.spec").write_text("BSP_Pynq-ZED :=\n")
    answer = build_py("import-spec", str(tmp_path / "old"), "--to", str(tmp_path / "new"))
    assert answer.status == 2
    assert "Pynq-ZED.spec:1: ARCH_Pynq-ZED is missing" in answer.errors
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["e200"]
