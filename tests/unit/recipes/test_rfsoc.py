# SPDX-License-Identifier: MIT
"""Recipes of RFSoC boards: register tables and their order, names of power rails."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from builder.spec.reader import Reader, SpecTree
from tests.fixtures.product import ROOT

CLOCKS = ROOT / "recipes/rfsoc-clocks"
BOARD_RECIPES = sorted((ROOT / "boards").glob("*/recipes/*/recipe.yaml"))
RAILS = ROOT / "boards/ZCU111/recipes/zcu111-sensors/files/zcu111.conf"

LMK_NUMBERS = [*range(17), *range(24, 32)]
LMX_NUMBERS = list(range(113))


@pytest.fixture(name="clocks")
def clocks_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program of the recipe, which is not a package of the builder."""
    spec = importlib.util.spec_from_file_location("rfsoc_clocks", CLOCKS / "files/rfsoc_clocks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "rfsoc_clocks", module)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec.loader.exec_module(module)
    return module


def lmk_word(number: int) -> int:
    return 0x00140000 | number


def lmx_word(number: int) -> int:
    return number << 16 | 0x2400 | number


def export(words: dict[str, int], digits: int) -> str:
    """Return a table in TICS Pro's format."""
    return "".join(f"{name}\t0x{word:0{digits}X}\n" for name, word in words.items())


def lmk_table() -> str:
    words = {"R0 (INIT)": 0x00160040} | {f"R{each}": lmk_word(each) for each in LMK_NUMBERS}
    return export(words, 8)


def lmx_table() -> str:
    return export({f"R{each}": lmx_word(each) for each in reversed(LMX_NUMBERS)}, 6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with one table for each chip."""
    place = tmp_path / "tables"
    place.mkdir()
    (place / "LMK04208_122.88.txt").write_text(lmk_table())
    (place / "LMX2594_409.6.txt").write_text(lmx_table())
    return place


class FakeKernel:
    """A fake of sysfs, of spidev and of the chips behind it.

    It stands in for the kernel: an SPI device gets a file in /dev when it is bound to spidev, and
    each write to that file is a transfer.
    """

    def __init__(self, root: Path) -> None:
        self.spi, self.dev = root / "spi", root / "dev"
        self.sent: list[tuple[str, bytes]] = []
        self.log: list[str] = []
        self.pauses: list[float] = []
        self.failure: OSError | None = None
        self.lost = 0
        self._files: dict[int, str] = {}
        self._numbers = itertools.count(1000)
        (self.spi / "drivers/spidev").mkdir(parents=True)
        (self.spi / "devices").mkdir()

    def add(self, name: str, compatible: str, driver: str | None = None) -> None:
        device = self.spi / "devices" / name
        (device / "of_node").mkdir(parents=True)
        (device / "of_node/compatible").write_bytes(compatible.encode() + b"\0")
        if driver:
            (self.spi / "drivers" / driver).mkdir(exist_ok=True)
            (device / "driver").symlink_to(self.spi / "drivers" / driver)
            if driver == "spidev":
                self._appear(name)

    def _appear(self, name: str) -> None:
        (self.spi / "devices" / name / "spidev" / name.replace("spi", "spidev")).mkdir(parents=True)

    def write(self, path: Path, text: str) -> None:
        self.log.append(f"{path.relative_to(self.spi)} {text}")
        device = self.spi / "devices" / text
        if path.name == "unbind":
            (device / "driver").unlink()
        elif path.name == "bind":
            assert not (device / "driver").exists()
            assert (device / "driver_override").read_text() == "spidev"
            (device / "driver").symlink_to(self.spi / "drivers/spidev")
            self._appear(text)
        else:
            path.write_text(text)

    def open(self, path: Path) -> int:
        assert path.parent == self.dev
        number = next(self._numbers)
        self._files[number] = path.name
        return number

    def send(self, number: int, word: bytes) -> int:
        if self.failure:
            raise self.failure
        self.sent.append((self._files[number], bytes(word)))
        return len(word) - self.lost

    def close(self, number: int) -> None:
        del self._files[number]

    @property
    def still_open(self) -> list[str]:
        return list(self._files.values())


@pytest.fixture
def kernel(clocks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """A ZCU111 as its device tree describes it: four chips on a bridge, and a flash on another bus."""
    fake = FakeKernel(tmp_path)
    fake.add("spi0.0", "jedec,spi-nor", driver="spi-nor")
    for name, chip in (("0", "lmx2594"), ("1", "lmk04208"), ("2", "lmx2594"), ("3", "lmx2594")):
        fake.add(f"spi1.{name}", f"ti,{chip}")
    (fake.spi / "devices/spi2.0").mkdir()  # a device that is in no device tree
    monkeypatch.setattr(clocks, "SPI", fake.spi)
    monkeypatch.setattr(clocks, "DEVICES", fake.dev)
    monkeypatch.setattr(clocks, "_write", fake.write)
    monkeypatch.setattr(clocks, "_open", fake.open)

    class Time:
        sleep = staticmethod(fake.pauses.append)

    class Os:
        write, close = staticmethod(fake.send), staticmethod(fake.close)

    monkeypatch.setattr(clocks, "time", Time)
    monkeypatch.setattr(clocks, "os", Os)
    return fake


def addresses(words: list[bytes], size: int) -> list[int]:
    if size == 4:
        return [word[3] & 0x1F for word in words]
    return [word[0] for word in words]


# The recipes


def test_boards_recipes_are_read_without_problems() -> None:
    assert BOARD_RECIPES
    reader = Reader()
    for path in BOARD_RECIPES:
        reader.recipe(path)
        first = path.read_text().splitlines()[0]
        schema = first.removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / schema).resolve() == ROOT / "docs/schemas/recipe.schema.json"
    assert not reader.problems


@pytest.mark.parametrize(
    "path",
    [
        *BOARD_RECIPES,
        *(ROOT / f"recipes/{name}/recipe.yaml" for name in ("sensors", "rfsoc-clocks")),
    ],
    ids=lambda path: path.parent.name,
)
def test_files_that_recipes_name_are_there(path: Path) -> None:
    recipe = Reader().recipe(path)
    assert recipe
    for item in (*recipe.files, *recipe.templates):
        assert (path.parent / item.source).exists()
    known = {*SpecTree(root=ROOT).recipe_files(), *(each.parent.name for each in BOARD_RECIPES)}
    assert set(recipe.requires) <= known


# Power rails


def chips(text: str) -> dict[str, dict[str, str]]:
    """Return the statements of a sensors configuration: chip, feature, label."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        chip = re.fullmatch(r'chip "([^"]+)"', line)
        if chip:
            found[chip[1]] = {}
        elif line.strip() and not line.startswith("#"):
            statement = re.fullmatch(r'    (?:(ignore) (\w+)|label (\w+) "(\w+)")', line)
            assert statement, line
            feature, label = statement[2] or statement[3], statement[1] or statement[4]
            assert feature not in found[list(found)[-1]]
            found[list(found)[-1]][feature] = label
    return found


def test_every_rail_has_one_name_for_all_that_is_measured_of_it() -> None:
    found = chips(RAILS.read_text())
    assert len(found) == 14
    names = [features["in2"] for features in found.values()]
    assert len(set(names)) == len(names)
    for features in found.values():
        name = features["in2"]
        assert features == {"in1": "ignore", "in2": name, "curr1": name, "power1": name}


# Tables


def test_a_table_is_read(clocks: ModuleType, folder: Path) -> None:
    table = clocks.choose(clocks.LMK04208, 122.88, folder)
    assert table.registers == {each: lmk_word(each) for each in LMK_NUMBERS}
    assert table.reset == 0x00160040


def test_endings_comments_and_marks_of_windows_do_not_matter(
    clocks: ModuleType, folder: Path
) -> None:
    lines = lmk_table().splitlines()
    text = "\r\n".join(["# from TICS Pro", "", *(f"{line} # note" for line in lines), ""])
    path = folder / "lmk04208_100.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert clocks.choose(clocks.LMK04208, 100, folder) == clocks.read_table(
        folder / "LMK04208_122.88.txt", clocks.LMK04208
    )


def without(text: str, name: str) -> str:
    return "".join(line for line in text.splitlines(True) if not line.startswith(f"{name}\t"))


@pytest.mark.parametrize(
    ("chip", "text", "message"),
    [
        ("LMX2594", "", "has 0 registers, which are not all of LMX2594"),
        ("LMX2594", without(lmx_table(), "R0"), "has 112 registers, which are not all"),
        ("LMX2594", without(lmx_table(), "R40"), "has 112 registers, which are not all"),
        ("LMK04208", without(lmk_table(), "R31"), "has 24 registers, which are not all"),
        ("LMK04208", lmx_table(), ":1: 702470 is no value for R112"),
        ("LMX2594", lmk_table(), ":1: 00160040 is no value for R0"),
        ("LMX2594", lmx_table() + "R0\t0x002400\n", ":114: R0 is there twice"),
        ("LMX2594", "R112 = 0x700000\n", ":1: not a line of a TICS Pro export"),
        ("LMX2594", "<html>\n", ":1: not a line of a TICS Pro export: <html>"),
        ("LMX2594", "R0\t0x1000000\n", ":1: 1000000 is no value for R0 of LMX2594"),
        ("LMX2594", without(lmx_table(), "R0") + "R0\t0x002402\n", "would leave the chip in reset"),
        ("LMK04208", without(lmk_table(), "R0") + "R0\t0x00160000\n", "would leave the chip in"),
    ],
)
def test_a_table_that_is_wrong_is_refused(
    clocks: ModuleType, tmp_path: Path, chip: str, text: str, message: str
) -> None:
    path = tmp_path / "table.txt"
    path.write_text(text)
    with pytest.raises(clocks.ClocksError, match=re.escape(message)):
        clocks.read_table(path, getattr(clocks, chip))


def test_a_missing_table_is_named_with_those_that_there_are(
    clocks: ModuleType, folder: Path
) -> None:
    with pytest.raises(clocks.ClocksError) as caught:
        clocks.choose(clocks.LMX2594, 491.52, folder)
    assert f"{folder}/LMX2594_491.52.txt (there are, in MHz: 409.6)" in str(caught.value)


def test_two_tables_for_one_frequency_are_refused(clocks: ModuleType, folder: Path) -> None:
    (folder / "lmx2594_409.60.txt").write_text(lmx_table())
    with pytest.raises(clocks.ClocksError, match="for the same frequency"):
        clocks.tables(clocks.LMX2594, folder)


# Transfers


def test_the_order_of_the_lmk(clocks: ModuleType, folder: Path) -> None:
    writes = clocks.LMK04208.writes(clocks.choose(clocks.LMK04208, 122.88, folder))
    words = [each.word for each in writes]
    assert words[0] == bytes.fromhex("00160040")
    assert words[1:] == [lmk_word(each).to_bytes(4, "big") for each in LMK_NUMBERS]


def test_the_lmk_is_reset_without_a_line_that_says_so(clocks: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text(without(lmk_table(), "R0 (INIT)"))
    writes = clocks.LMK04208.writes(clocks.read_table(path, clocks.LMK04208))
    assert int.from_bytes(writes[0].word, "big") == lmk_word(0) | 1 << 17
    assert addresses([each.word for each in writes], 4) == [0, *LMK_NUMBERS]


def test_the_order_of_the_lmx(clocks: ModuleType, folder: Path) -> None:
    writes = clocks.LMX2594.writes(clocks.choose(clocks.LMX2594, 409.6, folder))
    words = [each.word for each in writes]
    assert addresses(words, 3) == [0, 0, *reversed(LMX_NUMBERS), 0]
    values = [int.from_bytes(word, "big") for word in words]
    reset, calibrate = 1 << 1, 1 << 3
    assert [bool(value & reset) for value in values[:2]] == [True, False]
    assert not any(value & calibrate for value in values[:2])
    assert values[-1] == lmx_word(0) | calibrate
    # All is written, then 10 ms, then the calibration.
    assert [index for index, each in enumerate(writes) if each.pause] == [len(writes) - 2]
    assert writes[-2].pause == pytest.approx(0.01)


def test_a_table_without_the_uppermost_registers_will_do(
    clocks: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "table.txt"
    path.write_text(export({f"R{each}": lmx_word(each) for each in range(107)}, 6))
    writes = clocks.LMX2594.writes(clocks.read_table(path, clocks.LMX2594))
    assert addresses([each.word for each in writes], 3) == [0, 0, *reversed(range(107)), 0]


# The board


def test_all_chips_are_programmed_the_lmk_first(
    clocks: ModuleType, kernel: FakeKernel, folder: Path
) -> None:
    clocks.set_ref_clks(122.88, 409.6, folder)
    order = [name for name, _ in itertools.groupby(kernel.sent, key=lambda item: item[0])]
    assert order == ["spidev1.1", "spidev1.0", "spidev1.2", "spidev1.3"]
    assert {len(word) for name, word in kernel.sent if name == "spidev1.1"} == {4}
    each = [[word for name, word in kernel.sent if name == f"spidev1.{n}"] for n in (0, 2, 3)]
    assert each[0] == each[1] == each[2]
    assert {len(word) for word in each[0]} == {3}
    assert kernel.pauses == [clocks.SETTLE, 0.01, 0.01, 0.01]
    assert not kernel.still_open
    assert not [line for line in kernel.log if "spi0.0" in line or "spi2.0" in line]


def test_the_defaults_are_those_of_pynq(
    clocks: ModuleType, kernel: FakeKernel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, float]] = []
    choose = clocks.choose

    def recording(chip: Any, frequency: float, place: Path) -> Any:
        asked.append((chip.name, frequency))
        return choose(chip, frequency, folder)

    monkeypatch.setattr(clocks, "choose", recording)
    clocks.set_ref_clks()
    clocks.set_all_ref_clks(409.6)
    assert asked == [("LMK04208", 122.88), ("LMX2594", 409.6)] * 2


def test_devices_are_taken_from_another_driver_and_left_with_spidev(
    clocks: ModuleType, kernel: FakeKernel
) -> None:
    kernel.add("spi3.0", "ti,lmx2594", driver="other")
    kernel.add("spi3.1", "ti,lmx2594", driver="spidev")
    assert clocks.bind(kernel.spi / "devices/spi3.0") == kernel.dev / "spidev3.0"
    assert kernel.log == [
        "devices/spi3.0/driver/unbind spi3.0",
        "devices/spi3.0/driver_override spidev",
        "drivers/spidev/bind spi3.0",
    ]
    kernel.log.clear()
    assert clocks.bind(kernel.spi / "devices/spi3.1") == kernel.dev / "spidev3.1"
    assert not kernel.log


def test_nothing_is_sent_unless_all_is_there(
    clocks: ModuleType, kernel: FakeKernel, folder: Path
) -> None:
    with pytest.raises(clocks.ClocksError, match=r"LMX2594_1\.txt"):
        clocks.set_ref_clks(122.88, 1, folder)
    for name in ("spi1.0", "spi1.2", "spi1.3"):
        (kernel.spi / f"devices/{name}/of_node/compatible").write_bytes(b"ti,lmx2592\0")
    with pytest.raises(clocks.ClocksError, match="no SPI device ti,lmx2594"):
        clocks.set_ref_clks(122.88, 409.6, folder)
    assert not kernel.sent
    assert not kernel.log


def test_a_kernel_without_spidev_is_told(
    clocks: ModuleType, kernel: FakeKernel, folder: Path
) -> None:
    (kernel.spi / "drivers/spidev").rmdir()
    with pytest.raises(clocks.ClocksError, match="CONFIG_SPI_SPIDEV"):
        clocks.set_ref_clks(122.88, 409.6, folder)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            PermissionError(13, "Permission denied", "/dev/x"),
            "/dev/x: only root may set the clocks",
        ),
        (OSError(110, "Connection timed out"), "a clock chip cannot be written to: .*timed out"),
    ],
)
def test_errors_of_the_bus_are_told_and_files_closed(
    clocks: ModuleType, kernel: FakeKernel, folder: Path, error: OSError, message: str
) -> None:
    kernel.failure = error
    with pytest.raises(clocks.ClocksError, match=message):
        clocks.set_ref_clks(122.88, 409.6, folder)
    assert not kernel.still_open


def test_a_word_that_is_cut_is_an_error(
    clocks: ModuleType, kernel: FakeKernel, folder: Path
) -> None:
    kernel.lost = 1
    with pytest.raises(clocks.ClocksError, match="not sent as a whole"):
        clocks.set_ref_clks(122.88, 409.6, folder)
    assert not kernel.still_open


# The command, and the name for notebooks


def test_list(
    clocks: ModuleType, kernel: FakeKernel, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clocks.main(["--tables", str(folder), "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "LMK04208: SPI devices: spi1.1",
        f"LMK04208: 122.88 MHz: {folder}/LMK04208_122.88.txt",
        "LMX2594: SPI devices: spi1.0, spi1.2, spi1.3",
        f"LMX2594: 409.6 MHz: {folder}/LMX2594_409.6.txt",
    ]


def test_list_without_anything(
    clocks: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clocks, "SPI", tmp_path / "none")
    assert clocks.main(["--tables", str(CLOCKS / "tables"), "list"]) == 0
    assert f"LMX2594: no table in {CLOCKS}/tables" in capsys.readouterr().out


def test_dry_run_sends_nothing(
    clocks: ModuleType, kernel: FakeKernel, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clocks.main(["--tables", str(folder), "set", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "LMK04208 00160040"
    assert lines[-2:] == ["LMX2594 002400, then 10 ms", "LMX2594 002408"]
    assert not kernel.sent


def test_set(
    clocks: ModuleType, kernel: FakeKernel, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clocks.main(["--tables", str(folder), "set", "--lmk", "122.88", "--lmx", "409.6"]) == 0
    assert capsys.readouterr().out == "LMK04208 at 122.88 MHz, LMX2594 at 409.6 MHz: written\n"
    assert kernel.sent


def test_set_says_what_to_supply(
    clocks: ModuleType, kernel: FakeKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clocks.main(["--tables", "/nowhere", "set"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("rfsoc-clocks: there is no table of registers for LMK04208 at 122.88")
    assert "/nowhere/LMK04208_122.88.txt" in error


def test_notebooks_get_it_by_the_name_that_they_know(clocks: ModuleType) -> None:
    names: dict[str, Any] = {}
    exec((CLOCKS / "files/xrfclk.py").read_text(), names)  # noqa: S102 - our own file
    assert names["set_ref_clks"] is clocks.set_ref_clks
    assert names["set_all_ref_clks"] is clocks.set_all_ref_clks


def test_the_program_can_be_run() -> None:
    path = CLOCKS / "files/rfsoc_clocks.py"
    assert path.read_text().startswith("#!/usr/bin/python3\n")
    assert os.access(path, os.X_OK)
