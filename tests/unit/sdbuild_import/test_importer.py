# SPDX-License-Identifier: MIT
"""Import of sdbuild boards in many forms: the outcome for each file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from builder.cli.context import typed
from builder.errors import UserError
from builder.sdbuild_import.importer import ImportRequest, find_boards, import_board
from builder.spec.reader import SpecTree
from builder.spec.resolve import resolve
from tests.fixtures.command_line import TREE, CommandLine
from tests.fixtures.sdbuild_imports import Imports
from tests.fixtures.sdbuild_repository import BOARDS, write_board

PLANNABLE = [name for name in BOARDS if name not in ("RFSoC4x2", "Ultra96", "VCK190")]


# All of them


@pytest.mark.parametrize("name", sorted({*BOARDS} - {"VCK190"}))
def test_every_file_is_accounted_for(imports: Imports, name: str) -> None:
    assert imports(name).files == set(BOARDS[name])


@pytest.mark.parametrize("name", PLANNABLE)
def test_the_result_is_a_board_that_can_be_planned(imports: Imports, name: str) -> None:
    report = imports(name)
    assert report.problems == []
    spec = resolve(SpecTree(root=TREE.root, boards_dirs=(imports.target,)), name)
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
    with pytest.raises(UserError, match="already exists") as caught:
        imports("Pynq-ZED")
    assert "--to" in (caught.value.hint or "")


def test_a_directory_with_another_name_than_its_spec_is_an_error(imports: Imports) -> None:
    folder = imports.write("Pynq-ZED")
    folder = folder.rename(folder.with_name("Other"))
    with pytest.raises(UserError, match=r"has no Other\.spec, but Pynq-ZED\.spec"):
        import_board(folder, imports.target, TREE, ImportRequest())


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
    titles = ["needs your attention:", "converted:", "used unchanged:", "left out, not needed"]
    found = [next(i for i, line in enumerate(lines) if line.startswith(each)) for each in titles]
    assert found == sorted(found)
    assert "  packages/radio/: 4 files: recipe radio" in lines
    assert any(line.startswith(f"  next: {typed('plan', '--board', 'e200')} ") for line in lines)


def test_a_board_that_is_not_ready_is_not_to_be_planned_next(
    build_py: CommandLine, tmp_path: Path
) -> None:
    write_board(tmp_path / "old", "Ultra96")
    answer = build_py("import-spec", str(tmp_path / "old"), "--to", str(tmp_path / "new"))
    assert answer.status == 0
    assert "NOT ready to be planned" in answer.output
    assert "next:" not in answer.output
    again = typed("validate", os.path.relpath(tmp_path / "new/Ultra96"))
    assert answer.output.endswith(f"\n  then: {again}\n\n")


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
