# SPDX-License-Identifier: MIT
"""The steps of the provider `mainline` for each family, and their notes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from builder.apt.archive import Archive, SourceFile, SourcePackage
from builder.bsp.mainline.mainline import boot_artifacts
from builder.bsp.provider import BootArtifacts
from builder.steps.step import Step
from tests.fixtures.specs import BOARD, DISTRIBUTION, Files

ZYNQMP = BOARD.replace("soc: zynq", "soc: zynqmp")
SPL = "{start-up-table: {u-boot: zynqmp-b}, firmware: {%s}}"
DOWNLOAD = f'{{url: "http://x.invalid/it", sha256: "{"0" * 64}"}}'
PMU = "pmu: {file: pmufw.elf, optional: true}"


class Packages:
    """Fake archive that has every package."""

    def __init__(self, distribution: Any) -> None:
        self.distribution = distribution

    def source(self, name: str, *, binary: bool) -> SourcePackage:
        file = SourceFile(name=f"{name}.tar.xz", sha256="0" * 64)
        return SourcePackage(name=name, version="1", binary=binary, files=(file,))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path)
    found.write("distributions/one.yaml", DISTRIBUTION.replace("[armhf]", "[armhf, arm64]"))
    return found


def made(files: Files, board: str = BOARD, bsp: str = "{boot-bin: BOOT.BIN}") -> BootArtifacts:
    files.board(board.replace("{boot-bin: BOOT.BIN}", bsp))
    spec = files.resolve()
    return boot_artifacts(spec, cast(Archive, Packages(spec.distributions[0])))


def steps(step: Step) -> Iterator[Step]:
    yield step
    for parent in step.parents.values():
        yield from steps(parent)


def names(artifacts: BootArtifacts) -> set[str]:
    return {step.name for step in steps(artifacts.boot_files)}


def test_each_family_has_what_it_needs(files: Files) -> None:
    zynq, zynqmp = made(files), made(files, ZYNQMP)
    own = {"trusted-firmware", "trusted-firmware-source"}
    assert names(zynqmp) - names(zynq) == own
    assert not names(zynq) - names(zynqmp)
    compilers = {
        package
        for step in steps(zynqmp.boot_files)
        for package in step.packages
        if package.startswith("gcc-")
    }
    assert compilers == {"gcc-aarch64-linux-gnu"}


def test_trusted_firmware_is_shared_by_a_family(files: Files) -> None:
    found = {step.name: step for step in steps(made(files, ZYNQMP).boot_files)}
    assert found["trusted-firmware"].scope == "zynqmp"
    assert found["boot-bin"].scope == found["u-boot"].scope == "B"
    # With AMD's first stage it is in BOOT.BIN; SPL loads it from U-Boot's file.
    assert "trusted-firmware" in found["u-boot"].parents
    assert "trusted-firmware" not in found["boot-bin"].parents


@pytest.mark.parametrize(
    ("board", "bsp", "remedy"),
    [
        (BOARD, "{boot-bin: BOOT.BIN}", None),
        (ZYNQMP, "{boot-bin: BOOT.BIN}", None),
        (ZYNQMP, SPL % "", "name it in {}/board.yaml, as bsp.firmware.pmu"),
        (ZYNQMP, SPL % PMU, "put it at {}/pmufw.elf"),
        (ZYNQMP, "{firmware: {fsbl: {file: b.dts}}}", "name it in"),
    ],
)
def test_a_card_that_boots_no_board_has_a_note(
    files: Files, board: str, bsp: str, remedy: str | None
) -> None:
    notes = made(files, board, bsp).notes
    if remedy is None:
        assert notes == ()
    else:
        (note,) = notes
        assert note.startswith("B: this card does NOT boot a board")
        assert remedy.format(files.root / "boards/B") in note


@pytest.mark.parametrize(
    ("bsp", "remedy"),
    [
        (SPL % "pmu: {file: b.dts}", "name it in {}/board.yaml, as bsp.firmware.pmu-configuration"),
        (SPL % f"pmu: {DOWNLOAD}", "name it in {}/board.yaml, as bsp.firmware.pmu-configuration"),
        (
            SPL % "pmu: {file: b.dts}, pmu-configuration: {file: pm_cfg_obj.c, optional: true}",
            "put it at {}/pm_cfg_obj.c",
        ),
        (SPL % "pmu: {file: b.dts}, pmu-configuration: {file: b.dts}", None),
        (SPL % f"pmu: {{file: b.dts}}, pmu-configuration: {DOWNLOAD}", None),
        # AMD's first stage has the object inside.
        ("{firmware: {fsbl: {file: b.dts}, pmu: {file: b.dts}}}", None),
    ],
)
def test_firmware_without_its_configuration_has_a_note(
    files: Files, bsp: str, remedy: str | None
) -> None:
    notes = made(files, ZYNQMP, bsp).notes
    if remedy is None:
        assert notes == ()
    else:
        (note,) = notes
        assert note.startswith("B: this card may NOT boot a board")
        assert remedy.format(files.root / "boards/B") in note


def test_programs_are_inputs_of_the_steps_that_read_them(files: Files) -> None:
    firmware = f"pmu: {DOWNLOAD}, pmu-configuration: {{file: b.dts}}"
    found = {step.name: step for step in steps(made(files, ZYNQMP, SPL % firmware).boot_files)}
    assert found["boot-bin"].parents["pmu"] is found["pmu"]
    assert files.root / "boards/B/b.dts" in found["u-boot"].files()
    assert found["u-boot"].settings()["PMU configuration"]


def test_a_finished_file_comes_after_everything_else(files: Files) -> None:
    for bsp, first_stage in (
        ("{boot-bin: BOOT.BIN}", "finished"),
        ("{boot-bin: BOOT.BIN, start-up-table: {u-boot: b}}", "SPL"),
        ("{boot-bin: BOOT.BIN, firmware: {fsbl: {file: b.dts}}}", "FSBL"),
    ):
        found = {step.name: step for step in steps(made(files, ZYNQMP, bsp).boot_files)}
        assert found["boot-bin"].settings()["first stage"] == first_stage
