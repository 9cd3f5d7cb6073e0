# SPDX-License-Identifier: MIT
"""The first stage: selection among a board's sources, and U-Boot's tables."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError

from builder.bsp.mainline.kbuild import KbuildTree
from builder.bsp.mainline.u_boot import UBoot
from builder.bsp.soc import FAMILIES
from builder.errors import UserError
from builder.sandbox.workspace import Workspace
from builder.spec.models import Bsp, Download, Soc, StartUpTable
from builder.spec.reader import SpecTree
from builder.steps.sources import UrlSource
from builder.steps.step import Job

SOURCE = """\
#include <asm/arch/ps7_init_gpl.h>
unsigned long ps7_pll_init_data_3_0[] = { EMIT_EXIT() };
unsigned long ps7_clock_init_data_3_0[] = { EMIT_EXIT() };
unsigned long ps7_ddr_init_data_3_0[] = { EMIT_MASKWRITE(0XF8006000, 0x0001FFFFU ,0x00000081U), };
unsigned long ps7_mio_init_data_3_0[] = { EMIT_EXIT() };
unsigned long ps7_peripherals_init_data_3_0[] = { EMIT_EXIT() };
unsigned long ps7_post_config_3_0[] = { EMIT_EXIT() };
"""
WIDTH = (
    "DDR width: PCW_UIPARAM_DDR_BUS_WIDTH says 16 Bit, which is 1 in 0xf8006000 bits 3:2, "
    "but the table has 0, which is 32 Bit"
)


class Here:
    """Fake workspace with U-Boot's tree: both are a plain directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.source = directory / "source"

    def outside(self, path: Path) -> Path:
        return path

    def run(self, argv: Sequence[Any], **_: Any) -> str:
        assert argv[0] == "mkdir"
        Path(argv[1]).mkdir()
        return ""


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A board's directory with all possible sources of a first stage."""
    folder = tmp_path / "board"
    folder.mkdir()
    for name in ("b.xsa", "b.registers.yaml", "b.parameters.yaml"):
        (folder / name).write_text("")
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """U-Boot's sources with the table of one board."""
    table = tmp_path / "source/board/xilinx/zynq/zynq-zed/ps7_init_gpl.c"
    table.parent.mkdir(parents=True)
    table.write_text(SOURCE)
    return Here(tmp_path)


def u_boot(board: Path, **bsp: Any) -> UBoot:
    download = Download(url="http://x.invalid/u-boot.tar.xz", sha256="0" * 64)
    return UBoot(
        "B",
        board,
        "b.dts",
        Bsp.model_validate(bsp),
        family=FAMILIES[Soc.ZYNQ],
        source=UrlSource("u-boot-source", download, scope="one"),
        trusted_firmware=None,
        pmu_configuration=None,
        tree=SpecTree(root=board.parent),
    )


def first_stage(step: UBoot, here: Here) -> tuple[str, str]:
    """Return the source that SPL compiles, and the log."""
    log = io.StringIO()
    job = Job(
        inputs={},
        output=here.directory,
        log=log,
        store=cast(Any, None),
        tools=cast(Any, None),
        on_line=lambda _: None,
    )
    workspace, tree = cast(Workspace, here), cast(KbuildTree, here)
    path = step._first_stage(job, workspace, tree)  # noqa: SLF001 - what SPL is compiled from
    assert path
    return path.read_text(), log.getvalue()


@pytest.mark.parametrize("table", [{}, {"u-boot": "zynq-zed", "registers": "b.registers.yaml"}])
def test_a_table_comes_from_the_board_or_from_u_boot(table: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="give either `registers` or `u-boot`"):
        StartUpTable.model_validate(table)


@pytest.mark.parametrize(
    ("bsp", "taken", "read"),
    [
        (
            {"hardware": {"xsa": "b.xsa"}, "start-up-table": {"u-boot": "zynq-zed"}},
            "hardware export b.xsa",
            ["b.xsa"],
        ),
        (
            {"hardware": {"xsa": "none.xsa"}, "start-up-table": {"u-boot": "zynq-zed"}},
            "start-up table zynq-zed of U-Boot",
            [],
        ),
        (
            {"start-up-table": {"registers": "b.registers.yaml"}},
            "start-up table b.registers.yaml",
            ["b.registers.yaml"],
        ),
        ({"boot-bin": "BOOT.BIN"}, "none", []),
    ],
)
def test_the_first_available_base_is_chosen(
    board: Path, bsp: dict[str, Any], taken: str, read: list[str]
) -> None:
    step = u_boot(board, **bsp)
    assert step.first_stage == step.settings()["first stage"] == taken
    # Files that are not read are not part of the key.
    assert [path.name for path in step.files() if path.parent == board and path.suffix] == read


def test_u_boots_table_is_used_unchanged(board: Path, here: Here) -> None:
    text, log = first_stage(u_boot(board, **{"start-up-table": {"u-boot": "zynq-zed"}}), here)
    assert text == SOURCE
    assert "first stage from start-up table zynq-zed of U-Boot" in log


def test_u_boots_table_fits_the_boards_parameters(board: Path, here: Here) -> None:
    (board / "b.parameters.yaml").write_text("PCW_UIPARAM_DDR_BUS_WIDTH: 32 Bit\n")
    table = {"u-boot": "zynq-zed", "parameters": "b.parameters.yaml"}
    _, log = first_stage(u_boot(board, **{"start-up-table": table}), here)
    assert "start-up table agrees with b.parameters.yaml" in log


def test_u_boots_table_does_not_fit_the_boards_parameters(board: Path, here: Here) -> None:
    (board / "b.parameters.yaml").write_text("PCW_UIPARAM_DDR_BUS_WIDTH: 16 Bit\n")
    table = {"u-boot": "zynq-zed", "parameters": "b.parameters.yaml"}
    message = r"^the start-up table zynq-zed of U-Boot contradicts .* b\.parameters\.yaml$"
    with pytest.raises(UserError, match=message) as caught:
        first_stage(u_boot(board, **{"start-up-table": table}), here)
    (detail,) = caught.value.details
    assert detail.startswith(f"{board / 'b.parameters.yaml'}:1: {WIDTH}")


def test_a_placeholder_may_contradict_the_boards_parameters(board: Path, here: Here) -> None:
    (board / "b.parameters.yaml").write_text("PCW_UIPARAM_DDR_BUS_WIDTH: 16 Bit\n")
    table = {"u-boot": "zynq-zed", "parameters": "b.parameters.yaml", "stand-in": True}
    step = u_boot(board, **{"start-up-table": table})
    assert step.is_placeholder
    text, log = first_stage(step, here)
    assert text == SOURCE
    assert WIDTH in log
    export = {"hardware": {"xsa": "b.xsa"}, "start-up-table": table}
    assert not u_boot(board, **export).is_placeholder, "the board's own is there"
