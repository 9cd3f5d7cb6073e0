# SPDX-License-Identifier: MIT
"""Targets that read hardware exports, start-up tables, and boards of PYNQ's sdbuild."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from builder.board_generator.board import BoardRequest, new_board
from builder.bsp.petalinux.layer import set_symbols, symbols
from builder.bsp.ps7 import check as ps7_check
from builder.bsp.ps7 import table as ps7
from builder.formats.bitstream import loadable
from builder.formats.dts_reader import read_sources
from builder.sdbuild_import import importer
from builder.sdbuild_import.devicetree import read_user_tree
from builder.sdbuild_import.draft import Draft
from builder.sdbuild_import.hardware import inside_bsp
from builder.sdbuild_import.petalinux import edf_settings
from builder.sdbuild_import.report import Report
from builder.sdbuild_import.specification import read_specification
from builder.spec.models import Soc
from builder.spec.reader import SpecTree
from builder.vivado.design import bitstream_of, read_design
from builder.vivado.export import open_export
from builder.vivado.interrupts import interrupts
from builder.vivado.system import read_system
from tests.fixtures.exports import bitstream, hwh, make_xsa, start_up, sysdef
from tests.fixtures.sdbuild_repository import BOARDS, E200_TREE, bsp, xsa
from tests.fuzz.judging import ROOT, AcceptedError, Target
from tests.fuzz.mutation import (
    as_bytes,
    of_bytes,
    of_files,
    of_lines,
    of_tar,
    of_xml,
    of_yaml,
    of_zip,
)

_TREE = SpecTree(root=ROOT)


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _hwhs() -> list[bytes]:
    return [hwh(soc).encode() for soc in Soc]


def _xsas() -> list[bytes]:
    made = []
    for soc in Soc:
        with tempfile.TemporaryDirectory() as folder:
            files: dict[str, str | bytes] = {
                "design_1.hwh": hwh(soc),
                "sysdef.xml": sysdef("design_1.hwh"),
                "xsa.json": '{"a": [{"Name": "design_1.hwh", "Type": "DEFAULT_BD"}]}',
                "design.bit": bitstream(),
                **start_up(soc),
            }
            made.append(make_xsa(Path(folder, "x.xsa"), files).read_bytes())
    return made


def _design(data: bytes, scratch: Path) -> None:
    """Read what `build.py new` and `show` read of an export."""
    export = open_export(_file(scratch, "x.xsa" if data[:2] == b"PK" else "x.hwh", data))
    design = read_design(export)
    interrupts(design)
    read_system(design)
    bit = bitstream_of(export)
    if bit:
        loadable(export.read(bit), origin=bit)


def _new_board(data: bytes, scratch: Path) -> None:
    folder = scratch / "made"
    shutil.rmtree(folder, ignore_errors=True)
    wish = BoardRequest(
        name="Made", export=_file(scratch, "x.xsa", data), directory=folder / "Made"
    )
    before = {*scratch.iterdir()}
    try:
        new_board(wish, _TREE)
    finally:
        others = {*scratch.iterdir()} - before - {folder}
        if others:
            raise AcceptedError(f"was written beside the board: {sorted(others)}")


def _start_up_source(data: bytes, _: Path) -> None:
    ps7.render(ps7.read_source(data.decode(errors="replace"), origin="ps7_init_gpl.c"))


def _start_up_table(data: bytes, scratch: Path) -> None:
    ps7.render(ps7.read_table(_file(scratch, "table.yaml", data)))


def _parameters(data: bytes, scratch: Path) -> None:
    found = ps7_check.read_parameters(_file(scratch, "parameters.yaml", data))
    table = ps7.read_table(ROOT / "boards/Pynq-Z2/ps7/arty-z7.registers.yaml")
    ps7_check.compare(table, found)


def _parameter_files() -> list[bytes]:
    found = sorted((ROOT / "boards/Pynq-Z2/ps7").glob("*arameters*.yaml"))
    return [path.read_bytes() for path in found] or [b"PCW_UIPARAM_DDR_FREQ_MHZ: '525'\n"]


def _specification(data: bytes, scratch: Path) -> None:
    file = _file(scratch, "e200.spec", data)
    read_specification(file, Report(board="e200", source=scratch))


def _specifications() -> list[bytes]:
    found = [files.get(f"{name}.spec") for name, files in BOARDS.items()]
    return [
        b"A := x\nA := $(A)$(A)\nB = $(A)$(A)\nARCH_e200 := arm\n",
        *(text.encode() for text in found if isinstance(text, str)),
    ]


def _sdbuild_boards() -> list[bytes]:
    files = {name: text for name, text in BOARDS["e200"].items() if isinstance(text, str)}
    return [json.dumps(files, indent=1).encode()]


def _sdbuild_board(data: bytes, scratch: Path) -> None:
    source, target = scratch / "source/e200", scratch / "target"
    for folder in (source.parent, target):
        shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    try:
        files = json.loads(data)
    except ValueError:
        return
    for name, content in files.items() if isinstance(files, dict) else ():
        if (
            ".." in name
            or not name.isprintable()
            or len(name) > 200
            or not isinstance(content, str)
        ):
            continue
        path = source / name.strip("/")
        if not path.exists() and not any(each.is_file() for each in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(as_bytes(content))
    importer.import_board(source, target, _TREE, importer.ImportRequest())
    outside = {path.name for path in scratch.iterdir()} - {"source", "target"}
    if outside:
        raise AcceptedError(f"was written beside the board: {sorted(outside)}")


def _bsps() -> list[bytes]:
    files = {
        "project-spec/hw-description/system.xsa": xsa(),
        "pre-built/linux/images/pmufw.elf": b"\x7fELF",
    }
    return [bsp("board", files)]


def _bsp(data: bytes, scratch: Path) -> None:
    folder = scratch / "draft/B"
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    report = Report(board="B", source=scratch)
    draft = Draft(name="B", source=scratch, directory=folder, tree=_TREE, report=report)
    inside_bsp(draft, _file(scratch, "b.bsp", data), export=True)


def _device_tree(data: bytes, scratch: Path) -> None:
    for soc in Soc:
        read_user_tree(data.decode(errors="replace"), soc, beside=["e200-sensors.dtsi"], whole=True)
    read_sources(_file(scratch, "source.dts", data), folders=[])


def _configuration(data: bytes, scratch: Path) -> None:
    text = data.decode(errors="replace")
    found = symbols(text)
    set_symbols(text, dict.fromkeys(found))
    edf_settings(_file(scratch, "edf.env", data))


TARGETS = (
    Target(name="hwh", seeds=_hwhs, mutation=of_xml, run=_design),
    Target(name="xsa", seeds=_xsas, mutation=of_zip, run=_design),
    Target(name="new-board", seeds=_xsas, mutation=of_zip, run=_new_board, examples=2),
    Target(
        name="bitstream",
        seeds=lambda: [bitstream()],
        mutation=of_bytes,
        run=lambda data, _: loadable(data, origin="x"),
    ),
    Target(
        name="start-up-source",
        seeds=lambda: [_short_source()],
        mutation=of_lines,
        run=_start_up_source,
    ),
    Target(
        name="start-up-table",
        seeds=lambda: [_short_table()],
        mutation=of_yaml,
        run=_start_up_table,
    ),
    Target(
        name="start-up-parameters",
        seeds=_parameter_files,
        mutation=of_yaml,
        run=_parameters,
        allowed=(ValueError,),
        examples=3,
    ),
    Target(
        name="sdbuild-spec",
        seeds=_specifications,
        mutation=of_lines,
        run=_specification,
    ),
    Target(
        name="sdbuild-board",
        seeds=_sdbuild_boards,
        mutation=of_files,
        run=_sdbuild_board,
        examples=2,
    ),
    Target(name="bsp", seeds=_bsps, mutation=of_tar, run=_bsp),
    Target(
        name="device-tree-source",
        seeds=lambda: [E200_TREE.encode()],
        mutation=of_lines,
        run=_device_tree,
    ),
    Target(
        name="configuration",
        seeds=lambda: [
            b'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="c"\nexport X="a b"\nY=1 # y\n'
        ],
        mutation=of_lines,
        run=_configuration,
    ),
)


def _short_table() -> bytes:
    return b"""\
mio: [{write: [0xF8000008, 0xDF0D]}]
pll: [{maskwrite: [0xF8000100, 0x0007F000, 0x0001A000]}, {maskpoll: [0xF800010C, 2]}]
clock: []
ddr: [{maskdelay: [0xF8F00200, 1]}]
peripherals: []
post_config: []
"""


def _short_source() -> bytes:
    names = ("mio_init", "pll_init", "clock_init", "ddr_init", "peripherals_init")
    tables = [f"ps7_{name}_data_3_0" for name in names] + ["ps7_post_config_3_0"]
    body = "EMIT_WRITE(0xF8000008, 0x0000DF0DU),\n EMIT_MASKWRITE(0xF8000100, 1, 1),\n EMIT_EXIT(),"
    return "\n".join(f"unsigned long {name}[] = {{\n {body}\n}};" for name in tables).encode()
