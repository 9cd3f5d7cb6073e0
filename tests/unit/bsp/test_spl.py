# SPDX-License-Identifier: MIT
"""Checks of SPL's ELF file, with programs that GCC compiles with and without its option."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from builder.bsp.spl import DESCRIBE, SOURCES, Spl, check_sources, check_spl, read_spl
from builder.errors import StepError
from builder.formats.boot_bin import BootHeader
from builder.spec.models import Soc
from tests.fixtures.programs import STRICT, spl

HEADER = BootHeader(
    source_offset=0x8C0,
    length=4096,
    load_address=0,
    entry=0,
    pmu_length=0,
    image_table_offset=0,
    partition_table_offset=0,
)
GOOD = Spl(entry=0, start=0, unaligned=False)


def told(command: tuple[str, ...], program: Path) -> str:
    return subprocess.run([*command, program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("strict", [True, False])
def test_a_32_bit_program_says_whether_it_accesses_unaligned(
    tmp_path: Path, *, strict: bool
) -> None:
    options = [STRICT[Soc.ZYNQ]] if strict else []
    found = read_spl(told(DESCRIBE, spl(tmp_path, Soc.ZYNQ, *options, start=0x40)))
    assert found == Spl(entry=0x40, start=0x40, unaligned=not strict)


def test_a_64_bit_program_says_how_it_was_compiled(tmp_path: Path) -> None:
    program = spl(tmp_path, Soc.ZYNQMP, STRICT[Soc.ZYNQMP])
    found = read_spl(told(DESCRIBE, program))
    assert found == Spl(entry=0xFFFC0000, start=0xFFFC0000, unaligned=None)
    check_sources(told(SOURCES, program))


def test_a_64_bit_program_that_accesses_unaligned(tmp_path: Path) -> None:
    program = spl(tmp_path, Soc.ZYNQMP)
    with pytest.raises(StepError, match=r"1 of 1 C sources .* data abort") as caught:
        check_sources(told(SOURCES, program))
    assert caught.value.details == (str(tmp_path / "odd.c"),)


def test_a_program_without_debugging_information(tmp_path: Path) -> None:
    program = spl(tmp_path, Soc.ZYNQMP, STRICT[Soc.ZYNQMP], "-s")
    with pytest.raises(StepError, match="compiler options of SPL are unknown"):
        check_sources(told(SOURCES, program))


def test_a_segment_of_headers_is_not_loaded(tmp_path: Path) -> None:
    """As GNU ld lays out U-Boot's SPL for Zynq UltraScale+, whose .bss is in DDR, at address 0."""
    described = told(DESCRIBE, spl(tmp_path, Soc.ZYNQMP, STRICT[Soc.ZYNQMP]))
    first = next(line for line in described.splitlines() if line.startswith("  LOAD "))
    headers = "  LOAD           0x000000 0x0000000000000000 0x0000000000000000 0x0000e8 0x0011e8 RW  0x10000"
    found = read_spl(described.replace(first, f"{headers}\n{first}"))
    assert found.start == 0xFFFC0000


def test_no_program() -> None:
    with pytest.raises(StepError, match="no SPL"):
        read_spl("readelf: Error: Not an ELF file")


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (
            replace(GOOD, start=0x40),
            "linked for 0x00000040, but the BootROM loads it to 0x00000000",
        ),
        (
            replace(GOOD, entry=0x40),
            "linked for 0x00000040, but the BootROM starts it at 0x00000000",
        ),
        (replace(GOOD, unaligned=True), "unaligned memory accesses .* data abort"),
    ],
)
def test_an_spl_that_would_not_run(changed: Spl, complaint: str) -> None:
    check_spl(GOOD, HEADER)
    check_spl(replace(GOOD, unaligned=None), HEADER)
    with pytest.raises(StepError, match=complaint):
        check_spl(changed, HEADER)
