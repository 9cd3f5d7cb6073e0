# SPDX-License-Identifier: MIT
"""BOOT.BIN of each kind of first stage, and the PMU's firmware in it."""

from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from builder.bsp.mainline.boot_bin import BootBin
from builder.bsp.pmu import pmu_memory
from builder.bsp.program import Program
from builder.bsp.soc import FAMILIES
from builder.errors import StepError, UserError
from builder.formats.boot_bin import parse
from builder.spec.models import Download, Soc
from builder.steps.sources import UrlSource
from builder.steps.step import Job, Step
from builder.store.store import Entry
from tests.fixtures.programs import STRICT, spl
from tests.fixtures.specs import Here

SPL = bytes(range(251)) * 40
PMU_AT = 0xFFDC0000

needs_mkimage = pytest.mark.skipif(not shutil.which("mkimage"), reason="needs u-boot-tools")
needs_bootgen = pytest.mark.skipif(not shutil.which("bootgen"), reason="needs xilinx-bootgen")


def elf32(*segments: tuple[int, bytes]) -> bytes:
    """Return a MicroBlaze program; the last segment's content is not in the file (.bss)."""
    at = 52 + 32 * (len(segments) + 1)
    table = b""
    for address, content in segments:
        table += struct.pack("<8I", 1, at, address, address, len(content), len(content), 5, 4)
        at += len(content)
    table += struct.pack("<8I", 1, 0, PMU_AT + 0x2000, PMU_AT + 0x2000, 0, 400, 6, 4)
    head = struct.pack(
        "<HHIIIIIHHHHHH", 2, 189, 1, PMU_AT, 52, 0, 0, 52, 32, len(segments) + 1, 0, 0, 0
    )
    return b"\x7fELF\1\1\1".ljust(16, b"\0") + head + table + b"".join(each for _, each in segments)


def elf64(address: int, code: bytes) -> bytes:
    """Return the smallest AArch64 program: one segment."""
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    head = struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, address, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 120, address, address, len(code), len(code), 8)
    return ident + head + segment + code


class TestPmuMemory:
    """The memory image of PMU programs."""

    def test_segments_lie_where_they_are_loaded(self, tmp_path: Path) -> None:
        path = tmp_path / "pmufw.elf"
        path.write_bytes(elf32((PMU_AT + 0x100, b"later"), (PMU_AT, b"first")))
        memory = pmu_memory(path)
        assert memory.startswith(b"first\0")
        assert memory[0x100:] == b"later".ljust(64, b"\0")

    def test_a_finished_one_is_taken_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "pmufw.bin"
        path.write_bytes(SPL)
        assert pmu_memory(path).rstrip(b"\0") == SPL.rstrip(b"\0")
        assert len(pmu_memory(path)) % 64 == 0

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b"", "0 bytes do not fit"),
            (bytes(0x20001), "131073 bytes do not fit"),
            (elf64(PMU_AT, b"x"), "not a 32-bit little-endian program"),
            (elf32((0, b"x")), "1 bytes at 0x00000000 are outside the PMU's memory"),
            (elf32((PMU_AT + 0x1FFFF, b"xy")), "are outside the PMU's memory"),
            (elf32((PMU_AT, b"xyz"))[:-1], "it is truncated"),
            (elf32((PMU_AT, b"x"))[:60], "not a program for the PMU"),
        ],
        ids=["empty", "too large", "64 bits", "below", "beyond", "cut off", "no header"],
    )
    def test_other_things(self, tmp_path: Path, content: bytes, complaint: str) -> None:
        path = tmp_path / "pmufw.elf"
        path.write_bytes(content)
        with pytest.raises(UserError, match=complaint) as caught:
            pmu_memory(path)
        assert str(path) in caught.value.message


class Files:
    """Fake entry of the store."""

    def __init__(self, files: Path) -> None:
        self.files = files


def source(name: str) -> Step:
    return UrlSource(name, Download(url="http://x.invalid/it", sha256="0" * 64), scope="B")


class Kit:
    """Inputs and run of the step."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inputs: dict[str, Path] = {}
        self.input("u-boot", "u-boot-spl.bin", SPL)
        self.input("u-boot", "u-boot.elf", elf64(0x8000000, b"U" * 64))
        self.input("trusted-firmware", "bl31.elf", elf64(0xFFFEA000, b"T" * 64))

    def input(self, step: str, name: str, content: bytes) -> Path:
        path = self.root / step / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        self.inputs[step] = path.parent
        return path

    def spl(self, soc: Soc, **given: Any) -> BootBin:
        """Return the step for SPL, with the ELF file of a small program."""
        spl(self.inputs["u-boot"], soc, STRICT[soc])
        return self.step(soc, **given)

    def step(self, soc: Soc = Soc.ZYNQMP, **given: Any) -> BootBin:
        empty = dict.fromkeys(("trusted_firmware", "pmu", "fsbl", "finished"))
        return BootBin("B", family=FAMILIES[soc], u_boot=source("u-boot"), **(empty | given))

    def run(self, step: BootBin) -> Path:
        output = self.root / "output"
        output.mkdir()
        inputs = {name: Files(self.inputs[name]) for name in step.parents}
        job = Job(
            inputs=cast(Mapping[str, Entry], inputs),
            output=output,
            log=io.StringIO(),
            store=cast(Any, None),
            tools=cast(Any, Here(self.root)),
            on_line=lambda _: None,
        )
        step.run(job)
        return output / "BOOT.BIN"


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(tmp_path)


@needs_mkimage
@pytest.mark.parametrize("soc", FAMILIES)
def test_spl(kit: Kit, soc: Soc) -> None:
    made = parse(kit.run(kit.spl(soc)), soc)
    assert made.first_stage.rstrip(b"\0") == SPL.rstrip(b"\0")
    assert made.pmu == b""


@needs_mkimage
@pytest.mark.parametrize(
    ("soc", "options", "start", "complaint"),
    [
        (Soc.ZYNQ, (), 0, "may make unaligned memory accesses"),
        (Soc.ZYNQMP, (), 0xFFFC0000, "may make unaligned memory accesses"),
        (Soc.ZYNQ, (STRICT[Soc.ZYNQ],), 0x100, "linked for 0x00000100, but the BootROM loads it"),
        (Soc.ZYNQMP, (STRICT[Soc.ZYNQMP],), 0, "linked for 0x00000000, but the BootROM loads it"),
    ],
)
def test_spl_that_would_not_run(
    kit: Kit, soc: Soc, options: tuple[str, ...], start: int, complaint: str
) -> None:
    spl(kit.inputs["u-boot"], soc, *options, start=start)
    with pytest.raises(StepError, match=complaint):
        kit.run(kit.step(soc))


@needs_mkimage
def test_spl_that_does_not_fit(kit: Kit) -> None:
    kit.input("u-boot", "u-boot-spl.bin", bytes(192 * 1024))
    with pytest.raises(StepError, match=r"would not accept BOOT.BIN: .* does not fit the 196608"):
        kit.run(kit.spl(Soc.ZYNQ))


@needs_mkimage
@pytest.mark.parametrize("downloaded", [True, False])
def test_spl_with_firmware_of_the_pmu(kit: Kit, *, downloaded: bool) -> None:
    path = kit.input("pmu", "pmufw.elf", elf32((PMU_AT, b"firmware")))
    if downloaded:
        step = kit.spl(Soc.ZYNQMP, pmu=Program(name="pmu", download=source("pmu")))
        assert (set(step.parents), step.files()) == ({"u-boot", "pmu"}, [])
    else:
        step = kit.spl(Soc.ZYNQMP, pmu=Program(name="pmu", path=path))
        assert (set(step.parents), step.files()) == ({"u-boot"}, [path])
    made = parse(kit.run(step), Soc.ZYNQMP)
    assert made.pmu == b"firmware".ljust(64, b"\0")
    assert made.first_stage == SPL


@needs_bootgen
@pytest.mark.parametrize("firmware", [b"firmware" * 100, None])
def test_amds_first_stage(kit: Kit, firmware: bytes | None) -> None:
    fsbl = kit.input("fsbl", "fsbl of mine.elf", elf64(0xFFFC0000, b"F" * 128))
    pmu = None
    if firmware:
        pmu = Program(name="pmu", path=kit.input("pmu", "p.elf", elf32((PMU_AT, firmware))))
    step = kit.step(
        trusted_firmware=source("trusted-firmware"),
        fsbl=Program(name="fsbl", path=fsbl),
        pmu=pmu,
    )
    assert step.packages == ("xilinx-bootgen",)
    path = kit.run(step)
    made = parse(path, Soc.ZYNQMP)
    assert made.first_stage.rstrip(b"\0") == b"F" * 128
    assert made.pmu.rstrip(b"\0") == (firmware or b"")
    for part in (b"T" * 64, b"U" * 64):
        assert part in path.read_bytes()


@needs_mkimage
def test_a_finished_one_is_read_too(kit: Kit) -> None:
    made = kit.run(kit.spl(Soc.ZYNQMP)).rename(kit.root / "finished.bin")
    shutil.rmtree(kit.root / "output")
    shutil.rmtree(kit.root / "boot-bin")
    step = kit.step(finished=made)
    assert step.files() == [made]
    assert kit.run(step).read_bytes() == made.read_bytes()


def test_what_the_bootrom_does_not_accept(kit: Kit) -> None:
    path = kit.input("x", "BOOT.BIN", bytes(8192))
    with pytest.raises(StepError, match=r"^the BootROM would not accept BOOT.BIN: .*no boot"):
        kit.run(kit.step(finished=path))
