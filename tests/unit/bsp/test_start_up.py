# SPDX-License-Identifier: MIT
"""Start-up sources: out of hardware exports of both families, and out of U-Boot."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from builder.bsp.start_up import START_UPS
from builder.errors import UserError
from builder.spec.models import Soc

FUNCTIONS = {Soc.ZYNQ: "ps7_config", Soc.ZYNQMP: "psu_init"}


@pytest.fixture(params=FUNCTIONS)
def soc(request: pytest.FixtureRequest) -> Soc:
    found: Soc = request.param
    return found


def make_xsa(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_takes_both_files_out_of_an_export(tmp_path: Path, soc: Soc) -> None:
    start_up = START_UPS[soc]
    header = start_up.source.replace(".c", ".h")
    files = {start_up.source: FUNCTIONS[soc], f"repacked/{header}": "// header\n", "x.hwh": ""}
    source = start_up.extract(make_xsa(tmp_path / "base.xsa", files), tmp_path / "out")
    assert source.read_text() == FUNCTIONS[soc]
    assert source.with_suffix(".h").read_text() == "// header\n"
    assert sorted(each.name for each in source.parent.iterdir()) == [source.name, header]


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        ({"x.hwh": ""}, "has no ps7_init_gpl.c and no ps7_init_gpl.h", "block design"),
        ({"ps7_init_gpl.c": "ps7_config"}, "has no ps7_init_gpl.h", "block design"),
        ({"psu_init_gpl.c": ""}, "has no ps7_init_gpl.c", "another SoC (psu_init_gpl.c)"),
        ({"ps7_init_gpl.c": "", "ps7_init_gpl.h": ""}, "no ps7_config", "not what Vivado wrote"),
    ],
)
def test_export_without_start_up_code(
    tmp_path: Path, files: dict[str, str], message: str, hint: str
) -> None:
    xsa = make_xsa(tmp_path / "base.xsa", files)
    with pytest.raises(UserError, match=message) as caught:
        START_UPS[Soc.ZYNQ].extract(xsa, tmp_path / "out")
    assert hint in str(caught.value.hint)


def test_export_that_is_none(tmp_path: Path, soc: Soc) -> None:
    start_up = START_UPS[soc]
    with pytest.raises(UserError, match="there is no hardware export"):
        start_up.extract(tmp_path / "base.xsa", tmp_path)
    (tmp_path / "base.xsa").write_text("not a zip")
    with pytest.raises(UserError, match="is not a hardware export"):
        start_up.extract(tmp_path / "base.xsa", tmp_path)


def test_a_board_that_u_boot_does_not_know(tmp_path: Path, soc: Soc) -> None:
    start_up = START_UPS[soc]
    known = tmp_path / start_up.boards / "zynq-zed" / start_up.source
    known.parent.mkdir(parents=True)
    known.touch()
    assert start_up.shipped(tmp_path, "zynq-zed") == known
    with pytest.raises(UserError, match=r"no start-up table zynq-zet \(did you mean zynq-zed\?\)"):
        start_up.shipped(tmp_path, "zynq-zet")
