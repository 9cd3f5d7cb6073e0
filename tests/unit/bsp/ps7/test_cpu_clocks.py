# SPDX-License-Identifier: MIT
"""Rules for CPU clock and operating points of Zynq-7000, and boards that satisfy or violate them."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from builder.bsp.mainline.snippet import snippet
from builder.bsp.ps7 import cpu_clocks
from builder.bsp.ps7 import table as ps7
from builder.bsp.ps7.clocks import CpuDividers
from builder.bsp.ps7.cpu_clock_check import check_tree, problems_of, tree_faults
from builder.bsp.ps7.cpu_clocks import CpuClock, faults, start_up_fault
from builder.bsp.soc import FAMILIES
from builder.errors import UserError
from builder.formats.devicetree import DeviceTree, read_tree
from builder.spec.models import Soc
from tests.fixtures.product import ROOT
from tests.fixtures.specs import BOARD, Files

SNIPPET = snippet(ROOT, FAMILIES[Soc.ZYNQ])
HALF = "&cpu0 { operating-points = <650000 1000000>,\n<325000 1000000>; };\n"
USB_ON = '&usb0 { status = "okay"; };\n'
TREE = '/dts-v1/;\n#include "zynq-7000.dtsi"\n%s#include "pynq-pl-zynq.dtsi"\n%s'
"""A board's tree: what is before the snippet of all boards, and what is after it."""
TABLE = """\
mio: []
pll: [{maskwrite: [0xF8000100, 0x7F000, 0x1A000]}]
clock: [{maskwrite: [0xF8000120, 0x3F30, 0x200]}, {maskwrite: [0xF80001C4, 1, 1]}]
ddr: []
peripherals: []
post_config: []
"""
SOC_TREE = """\
/ { #address-cells = <1>; #size-cells = <1>;
cpus { cpu0: cpu@0 { operating-points = <666667 1000000 333334 1000000>; }; };
amba: axi {
usb0: usb@e0002000 { status = "disabled"; };
usb1: usb@e0003000 { status = "disabled"; };
intc: interrupt-controller@f8f01000 { #interrupt-cells = <3>; interrupt-controller; };
slcr@f8000000 { clkc: clkc@100 { }; };
};
};
"""


def clock(crystal: int, feedback: int, *, ratio: int = 6) -> CpuClock:
    return CpuClock(pll=crystal * feedback, divider=2, ratio=ratio, known_from="a test")


CLOCK_650 = clock(50_000_000, 26)
CLOCK_667 = clock(33_333_333, 40)


@pytest.mark.parametrize(
    ("start", "points", "usb", "wrong"),
    [
        # AMD's own tables: the low point is too low for USB.
        (CLOCK_650, (650000, 325000), "usb0", ["CPU_1x is 54.167 MHz"]),
        (CLOCK_667, cpu_clocks.SOC_POINTS, "usb0", ["CPU_1x is 55.556 MHz"]),
        (CLOCK_650, (650000, 325000), "", []),
        (CLOCK_667, cpu_clocks.SOC_POINTS, "", []),
        (CLOCK_650, (650000,), "usb0", []),
        # A faster CPU has a low point that is high enough.
        (clock(33_333_333, 48), (800000, 400000), "usb0", []),
        (clock(50_000_000, 26, ratio=4), (650000, 325000), "usb0", []),
        # The SoC's table at another clock: both points are rounded down to possible clocks.
        (CLOCK_650, cpu_clocks.SOC_POINTS, "", []),
        # Timers keep their rate only at a half.
        (CLOCK_667, (666667, 222223), "", ["sets the CPU to 222.222 MHz, which is neither"]),
        (CLOCK_667, (666667, 166667), "", ["sets the CPU to 166.667 MHz, which is neither"]),
        # Points slightly below a possible clock get the next divider.
        (CLOCK_667, (666666,), "", ["sets the CPU to 444.444 MHz"]),
        (clock(33_333_333, 32), (533333, 266667), "", ["sets the CPU to 355.556 MHz"]),
        (CLOCK_650, (0,), "", ["sets the CPU to 20.635 MHz, which is neither"]),
        (CLOCK_650, (1300000, 650000), "", ["sets the CPU to 1300.000 MHz, but start-up to 650"]),
    ],
)  # fmt: skip
def test_operating_points(
    start: CpuClock, points: Sequence[int], usb: str, wrong: Sequence[str]
) -> None:
    found = [*faults(start, points, usb.split())]
    assert len(found) == len(wrong)
    assert all(part in text for part, text in zip(wrong, found, strict=True))


def test_the_clock_of_start_up_is_enough_for_usb() -> None:
    slow = clock(33_333_333, 20)
    assert start_up_fault(CLOCK_650, ["usb0"]) is None
    assert start_up_fault(slow, []) is None
    text = start_up_fault(slow, ["usb0", "usb1"])
    assert text
    assert "CPU at 333.333 MHz" in text
    assert "CPU_1x is 55.556 MHz, but usb0 and usb1 are enabled" in text


def test_table_and_parameters_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(TABLE)
    table = ps7.read_table(path)
    parameters = {
        "PCW_ARMPLL_CTRL_FBDIV": "26",
        "PCW_CPU_PERIPHERAL_DIVISOR0": "2",
        "PCW_APU_CLK_RATIO_ENABLE": "6:2:1",
    }
    by_table = cpu_clocks.clock_of_table(table, 50_000_000)
    by_parameters = cpu_clocks.clock_of_parameters(parameters, 50_000_000)
    assert by_table
    assert by_parameters
    assert by_parameters == replace(by_table, known_from=by_parameters.known_from)
    assert by_table.frequency == 650e6
    # The parameters of a block design have no dividers.
    own = cpu_clocks.clock_of_parameters(
        {"PCW_ACT_APU_PERIPHERAL_FREQMHZ": "650.000000"}, 50_000_000
    )
    assert own == by_parameters
    assert cpu_clocks.clock_of_parameters({}, 50_000_000) is None


def test_a_table_that_leaves_the_clock_alone_says_nothing() -> None:
    empty = ps7.StartupTable(origin="", sections=dict.fromkeys(ps7.SECTIONS, ()))
    assert cpu_clocks.clock_of_table(empty, 50_000_000) is None


def problems(files: Files, source: str, bsp: str | None = None) -> list[str]:
    """Return what `validate` finds in a board's tree, with paths below the root."""
    files.board(BOARD.replace("{boot-bin: BOOT.BIN}", bsp) if bsp else BOARD)
    files.write("boards/B/b.dts", source)
    place = files.root / SNIPPET.relative_to(ROOT)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(SNIPPET.read_text())
    return [str(each).replace(f"{files.root}/", "") for each in problems_of(files.resolve())]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        (TREE % (USB_ON, ""), None),
        # The last value is effective.
        (TREE % (USB_ON + HALF, ""), None),
        (TREE % (USB_ON, HALF), "b.dts:5: operating-points: at 325000 kHz CPU_1x is 54.167 MHz"),
        (TREE % (USB_ON, "/* " + HALF + "*/"), None),
        (TREE % ("", HALF), None),
        (TREE % ("", USB_ON + HALF + '&usb0 { status = "disabled"; };'), None),
        # Without the snippet, the points of the SoC's own tree are effective.
        ((TREE % (USB_ON, "")).replace("pynq-pl-", "x-"), "b.dts:2: operating-points: at 333334 kHz"),
        # Expressions are checked in the build, after compilation.
        (TREE % (USB_ON, "&cpu0 { operating-points = <(650 * 1000) 0>; };"), None),
    ],
)  # fmt: skip
def test_sources_are_judged_with_file_and_line(
    files: Files, source: str, wrong: str | None
) -> None:
    found = problems(files, source)
    assert [each.startswith(f"boards/B/{wrong}") for each in found] == [True] * bool(wrong)
    # The message has the remedy.
    assert all("/delete-property/ operating-points;" in each for each in found)


def test_the_start_up_table_counts(files: Files) -> None:
    files.write("boards/B/t.yaml", TABLE)
    files.write("boards/B/p.yaml", "PCW_CRYSTAL_PERIPHERAL_FREQMHZ: 50\n")
    own = "{start-up-table: {registers: t.yaml, parameters: p.yaml}}"
    crystal = "&clkc { ps-clk-frequency = <50000000>; };\n"
    good = TREE % (USB_ON + crystal, "&cpu0 { operating-points = <650000 1>; };")
    assert problems(files, good, own) == []
    (wrong,) = problems(files, good.replace("650000 1>", "650000 1 433334 1>"), own)
    assert "at 433334 kHz the kernel sets the CPU to 433.333 MHz, which is neither" in wrong
    assert "(from the start-up table t.yaml)" in wrong
    (wrong,) = problems(files, good.replace("50000000", "33333333"), own)
    assert wrong.startswith("boards/B/b.dts:4: ps-clk-frequency: is 33333333, but ")
    assert "write <50000000>" in wrong
    # A slow clock of start-up is not a fault of the tree.
    files.write("boards/B/t.yaml", TABLE.replace("0x1A000", "0xD000"))
    (wrong,) = problems(files, good, own)
    assert wrong.startswith("boards/B/board.yaml:8: bsp: with the CPU at 325.000 MHz")


def test_the_start_up_code_of_an_export_counts(files: Files) -> None:
    code = "".join(
        f"unsigned long {name}[] = {{ {body} EMIT_EXIT(), }};\n"
        for name, body in {
            "ps7_mio_init_data_3_0": "",
            "ps7_pll_init_data_3_0": "EMIT_MASKWRITE(0XF8000100, 0x0007F000U ,0x00028000U),",
            "ps7_clock_init_data_3_0": "EMIT_MASKWRITE(0XF8000120, 0x1F003F30U ,0x1F000200U),"
            "EMIT_MASKWRITE(0XF80001C4, 0x00000001U ,0x00000001U),",
            "ps7_ddr_init_data_3_0": "",
            "ps7_peripherals_init_data_3_0": "",
            "ps7_post_config_3_0": "",
        }.items()
    )
    (files.root / "boards/B").mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(files.root / "boards/B/b.xsa", "w") as export:
        export.writestr("ps7_init_gpl.c", code)
    # Above the 650 MHz of the points, 666.667: the kernel cannot begin with one of them.
    found = problems(files, TREE % ("", HALF), "{hardware: {xsa: b.xsa}}")
    assert len(found) == 2
    assert "at 650000 kHz the kernel sets the CPU to 444.444 MHz, which is neither" in found[0]
    assert "(from the start-up table b.xsa)" in found[0]


def test_tables_that_cannot_be_read_are_a_problem(files: Files) -> None:
    files.write("boards/B/t.yaml", "mio: 1\n")
    (wrong,) = problems(files, TREE % ("", ""), "{start-up-table: {registers: t.yaml}}")
    assert "boards/B/board.yaml:8: bsp.start-up-table: " in wrong
    assert "the section pll is missing" in wrong


def compiled(folder: Path, source: str) -> DeviceTree:
    files = {"b.dts": source, "zynq-7000.dtsi": SOC_TREE, SNIPPET.name: SNIPPET.read_text()}
    for name, text in files.items():
        (folder / name).write_text(text)
    flat, target = folder / "flat.dts", folder / "b.dtb"
    subprocess.run(
        ["cpp", "-nostdinc", "-undef", "-x", "assembler-with-cpp", folder / "b.dts", "-o", flat],
        check=True,
    )
    subprocess.run(["dtc", "-q", "-O", "dtb", "-o", target, flat], check=True)
    return read_tree(target)


DIVIDERS = CpuDividers(feedback=26, divider=2, ratio=6)
CRYSTAL = "&clkc { ps-clk-frequency = <50000000>; };\n"


def check(tree: DeviceTree, dividers: CpuDividers | None = DIVIDERS) -> None:
    check_tree(tree, dividers, source=Path("b.dts"), start_up="the table")


def test_a_compiled_tree_is_judged(tmp_path: Path) -> None:
    check(compiled(tmp_path, TREE % (USB_ON + CRYSTAL, "")))
    tree = compiled(tmp_path, TREE % (USB_ON + CRYSTAL, HALF))
    with pytest.raises(UserError) as caught:
        check(tree)
    assert "b.dts: /cpus/cpu@0" in caught.value.message
    assert "/delete-property/ operating-points;" in (caught.value.hint or "")
    assert [each.partition(",")[0] for each in caught.value.details] == [
        "at 325000 kHz CPU_1x is 54.167 MHz"
    ]
    # If the start-up code is unknown, the highest point is assumed.
    with pytest.raises(UserError) as caught:
        check(tree, None)
    assert "because the start-up code is unknown" in caught.value.details[0]
    with pytest.raises(
        UserError, match=r"CPU at 325\.000 MHz, as start-up sets it, CPU_1x is 54\.167"
    ):
        check(tree, CpuDividers(feedback=13, divider=2, ratio=6))


def test_a_compiled_tree_without_usb_may_have_a_low_point(tmp_path: Path) -> None:
    check(compiled(tmp_path, TREE % (CRYSTAL, HALF)))


def test_the_socs_own_points_are_no_good_with_usb(tmp_path: Path) -> None:
    tree = compiled(tmp_path, (TREE % (USB_ON, "")).replace('#include "pynq-pl-zynq.dtsi"', ""))
    (wrong,) = tree_faults(tree)
    assert "at 333334 kHz CPU_1x is 55.556 MHz" in wrong
