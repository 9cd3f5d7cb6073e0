# SPDX-License-Identifier: MIT
"""Hardware exports: various zip files, single .hwh files, and other files."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from builder.errors import UserError
from builder.spec.models import Soc
from builder.vivado.design import read_design
from builder.vivado.export import HardwareExport, open_export
from tests.fixtures.exports import hwh, make_xsa, sysdef


def test_files_are_found_wherever_they_lie(tmp_path: Path) -> None:
    export = open_export(make_xsa(tmp_path / "a.xsa", {"repacked/x.hwh": "text", "y.bit": "bits"}))
    assert export.named(".hwh") == ["x.hwh"]
    assert export.read("x.hwh") == b"text"


def test_a_file_at_the_top_wins(tmp_path: Path) -> None:
    export = open_export(make_xsa(tmp_path / "a.xsa", {"old/x.hwh": "old", "x.hwh": "new"}))
    assert export.read("x.hwh") == b"new"


def test_a_bare_hwh_is_an_export(tmp_path: Path) -> None:
    path = tmp_path / "base.hwh"
    path.write_text(hwh(Soc.ZYNQ))
    export = open_export(path)
    assert export.named(".hwh") == ["base.hwh"]
    assert read_design(export).soc is Soc.ZYNQ


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04 cut off"]
)
def test_what_is_no_export(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.xsa"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.xsa is not a hardware export") as caught:
        open_export(path)
    assert "Export Hardware" in str(caught.value.hint)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no hardware export"):
        open_export(tmp_path / "a.xsa")


def test_a_directory_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a hardware export"):
        open_export(tmp_path)


def test_damage_inside_is_told(tmp_path: Path) -> None:
    path = make_xsa(tmp_path / "a.xsa", {"x.hwh": hwh(Soc.ZYNQ)})
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.hwh cannot be read: Bad CRC"):
        read_design(open_export(path))


def test_a_file_that_would_fill_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.xsa"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.hwh", bytes(2 << 20))
    monkeypatch.setattr("builder.vivado.design._LARGEST", 1 << 20)
    with pytest.raises(UserError, match=r"x\.hwh is too large: 2 MiB"):
        read_design(open_export(path))


def export_of(tmp_path: Path, files: dict[str, str]) -> HardwareExport:
    return open_export(make_xsa(tmp_path / "a.xsa", files))


INNER = hwh(Soc.ZYNQ, name="inner").replace("processing_system7", "axi_gpio")


def test_the_top_design_is_the_one_that_is_listed(tmp_path: Path) -> None:
    files = {"a.hwh": hwh(Soc.ZYNQ, name="a"), "b.hwh": hwh(Soc.ZYNQ, name="b")}
    assert (
        read_design(export_of(tmp_path, {**files, "sysdef.xml": sysdef("b.hwh", "a.hwh")})).name
        == "b"
    )
    listed = '{"files": [{"name": "a.hwh", "bdType": "DEFAULT_BD"}, {"name": "b.hwh"}]}'
    assert read_design(export_of(tmp_path, {**files, "xsa.json": listed})).name == "a"


def test_the_top_design_is_the_one_with_a_processing_system(tmp_path: Path) -> None:
    files = {"a.hwh": INNER, "b.hwh": hwh(Soc.ZYNQ, name="b")}
    assert read_design(export_of(tmp_path, files)).name == "b"
    assert read_design(export_of(tmp_path, {**files, "sysdef.xml": sysdef("a.hwh")})).name == "b"


def test_two_tops_are_one_too_many(tmp_path: Path) -> None:
    files = {
        "a.hwh": hwh(Soc.ZYNQ),
        "b.hwh": hwh(Soc.ZYNQ),
        "sysdef.xml": "<Project",
        "xsa.json": "{",
    }
    with pytest.raises(UserError, match=r"2 designs with a processing system: a\.hwh, b\.hwh"):
        read_design(export_of(tmp_path, files))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ps7_init_gpl.c": ""}, r"has no \.hwh"),
        ({"a.hwh": INNER}, r"no processing system of a Zynq.*\(xc7z020clg400-1\)"),
        ({"a.hwh": INNER.replace('DEVICE="7z020"', "")}, r"\(unknown part\)"),
        ({"a.hwh": "<EDKSYSTEM><MODULES>"}, r"a\.hwh is not XML"),
        ({"a.hwh": "<other/>"}, r"a\.hwh is not a \.hwh"),
        ({"a.hwh": hwh(Soc.ZYNQ).replace('BASEVALUE="0X41200000"', "")}, "address range of leds"),
    ],
)
def test_designs_that_cannot_be_read(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_design(export_of(tmp_path, files))


# Exports of strangers


def test_only_plain_files_are_exports(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.xsa")
    (tmp_path / "zero.xsa").symlink_to("/dev/zero")
    for name in ("pipe.xsa", "zero.xsa"):
        with pytest.raises(UserError, match="is not a hardware export: is not a plain file"):
            open_export(tmp_path / name)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_exports_are_packed_by_deflate(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.xsa"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x.hwh", hwh(Soc.ZYNQ))
    with pytest.raises(UserError, match=r"x\.hwh is not compressed with Deflate"):
        read_design(open_export(path))


def test_an_export_has_so_many_files(tmp_path: Path) -> None:
    names = {f"{number:0100}": "" for number in range(10_000)}
    with pytest.raises(
        UserError, match="is not a hardware export: its directory of members is too"
    ):
        open_export(make_xsa(tmp_path / "a.xsa", names))


def test_all_designs_together_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = hwh(Soc.ZYNQ)
    export = export_of(tmp_path, {"a.hwh": text, "b.hwh": text})
    monkeypatch.setattr("builder.vivado.design._LARGEST", len(text) * 3 // 2)
    with pytest.raises(UserError, match=r"b\.hwh is too large"):
        read_design(export)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<EDKSYSTEM", "<!DOCTYPE EDKSYSTEM [<!ENTITY a 'b'>]><EDKSYSTEM", "document type"),
        ("<MODULES>", "<MODULES>" + "<a>" * 1000, "nested more than 64 deep"),
        ('BASEVALUE="0X41200000"', f'BASEVALUE="0x{"f" * 100_000}"', "address range of leds"),
    ],
)
def test_designs_that_are_more_than_they_seem(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = hwh(Soc.ZYNQ)
    assert old in text
    with pytest.raises(UserError, match=message):
        read_design(export_of(tmp_path, {"a.hwh": text.replace(old, new, 1)}))


@pytest.mark.parametrize("number", ["\N{SUPERSCRIPT TWO}", "9" * 5000, "-1"])
def test_odd_numbers_of_ports_are_passed_over(tmp_path: Path, number: str) -> None:
    text = hwh(Soc.ZYNQ)
    assert 'CLKFREQUENCY="100000000"' in text
    text = text.replace('CLKFREQUENCY="100000000"', f'CLKFREQUENCY="{number}" LEFT="{number}"')
    block = read_design(export_of(tmp_path, {"a.hwh": text})).blocks["leds"]
    assert block.ports["s_axi_aclk"].frequency == 0
    assert block.ports["s_axi_aclk"].width == 1


def test_a_parameter_that_is_too_long_for_a_number(tmp_path: Path) -> None:
    text = hwh(Soc.ZYNQ).replace('VALUE="0xFFFFFFFF"', f'VALUE="0x{"f" * 5000}"')
    block = read_design(export_of(tmp_path, {"a.hwh": text})).blocks["leds"]
    with pytest.raises(UserError, match="is not a number"):
        block.number("C_TRI_DEFAULT")


def test_a_list_that_is_nested_deeply_is_passed_over(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "[" * 900 + "]" * 900):
        files = {"a.hwh": hwh(Soc.ZYNQ), "xsa.json": text}
        assert read_design(export_of(tmp_path, files)).soc is Soc.ZYNQ
