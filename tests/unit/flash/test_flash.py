# SPDX-License-Identifier: MIT
"""The command `flash`, with files instead of devices."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.cli.context import typed
from builder.errors import Interrupted, StepError, UserError
from builder.flash.image import card_image, read_map
from builder.flash.writing import flash, verify
from builder.formats.compression import unpack
from builder.sandbox.process import Processes
from tests.fakes.lsblk import entry, fixed, table
from tests.fixtures.command_line import Answer, CommandLine

MIB = 1 << 20
OLD = b"\xa5" * MIB


def silent(stage: str, done: int, total: int) -> None:
    assert 0 <= done <= total


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def packed(image: Path, ending: str) -> Path:
    path = image.with_name(image.name + ending)
    data = image.read_bytes()
    match ending:
        case ".xz":
            path.write_bytes(lzma.compress(data, preset=0))
        case ".zst":
            path.write_bytes(
                subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout
            )
        case ".zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("card.img", data)
                archive.writestr("__MACOSX/._card.img", b"")
        case _:
            pass
    return path if ending else image


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 6 MiB with a hole from the second to the fourth, and its map; to be copied."""
    path = tmp_path_factory.mktemp("image") / "card.img"
    with path.open("wb") as file:
        file.write(os.urandom(MIB))
        file.seek(4 * MIB)
        file.write(os.urandom(MIB + 10 * 4096))
        file.truncate(6 * MIB)
    words = ["bmaptool", "create", "-o", f"{path}.bmap", str(path)]
    subprocess.run(words, check=True, capture_output=True)
    return path


@pytest.fixture
def image(original: Path, tmp_path: Path) -> Path:
    """An image of 6 MiB with a hole from the second to the fourth."""
    path = tmp_path / original.name
    subprocess.run(["cp", "--sparse=always", original, path], check=True)
    return path


@pytest.fixture
def block_map(original: Path, image: Path) -> Path:
    return Path(shutil.copy(f"{original}.bmap", image.parent))


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A card of 8 MiB that is full of old data."""
    path = tmp_path / "card"
    path.write_bytes(OLD * 8)
    return path


def put(image: Path, card: Path, *, progress: Callable[..., object] = silent) -> int:
    given = card_image(image)
    size = given.size(silent)
    flash(given, card, size, progress=progress, processes=Processes())
    return size


@pytest.mark.parametrize("ending", ["", ".xz", ".zst", ".zip"])
@pytest.mark.parametrize("mapped", [True, False])
def test_mapped_ranges_are_on_the_card(
    image: Path,
    block_map: Path,
    card: Path,
    ending: str,
    mapped: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    if not mapped:
        block_map.unlink()
    stages: dict[str, int] = {}

    def progress(stage: str, done: int, total: int) -> None:
        assert stages.get(stage, 0) <= done <= total
        stages[stage] = done

    assert put(packed(image, ending), card, progress=progress) == 6 * MIB
    assert [*stages] == ["writing", "verifying"]
    wanted, found = image.read_bytes(), card.read_bytes()
    for start, end in read_map(block_map).ranges if mapped else [(0, 6 * MIB)]:
        assert found[start:end] == wanted[start:end]
    assert stages["verifying"] == (read_map(block_map).mapped if mapped else 6 * MIB)


def test_other_ranges_are_not_written(image: Path, block_map: Path, card: Path) -> None:
    put(image, card)
    with card.open("rb") as file:  # of a file, bmaptool keeps nothing: what it leaves out is a hole
        assert file.seek(0, os.SEEK_HOLE) == MIB
        assert file.seek(MIB, os.SEEK_DATA) == 4 * MIB


def test_another_byte_on_the_card_is_found(image: Path, block_map: Path, card: Path) -> None:
    size = put(image, card)
    with card.open("r+b") as file:
        file.seek(4 * MIB + 7)
        before = file.read(1)
        file.seek(4 * MIB + 7)
        file.write(bytes([before[0] ^ 1]))
    with pytest.raises(StepError, match=f"from byte {4 * MIB + 7} on"):
        verify(card_image(image), card, size, progress=silent)


def test_a_card_that_ends_early_is_found(image: Path, card: Path) -> None:
    size = put(image, card)
    os.truncate(card, 5 * MIB)
    with pytest.raises(StepError, match=f"from byte {5 * MIB} on"):
        verify(card_image(image), card, size, progress=silent)


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        ("writing", "partly written and cannot be used"),
        ("verifying", "verification was not completed"),
    ],
)
def test_an_interruption_describes_the_state_of_the_card(
    image: Path, card: Path, stage: str, says: str
) -> None:
    def progress(now: str, done: int, total: int) -> None:
        if now == stage:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=says) as caught:
        put(image, card, progress=progress)
    assert caught.value.exit_code == 130


def test_errors_of_bmaptool_are_shown(image: Path, block_map: Path, card: Path) -> None:
    content = bytearray(image.read_bytes())
    content[0] ^= 1
    image.write_bytes(content)  # its map has another checksum for this block
    with pytest.raises(StepError, match="cannot be used in this state") as caught:
        put(image, card)
    assert "checksum mismatch" in " ".join(caught.value.details)


def test_a_map_of_another_image_is_refused(image: Path, block_map: Path) -> None:
    os.truncate(image, 7 * MIB)
    with pytest.raises(UserError, match="is the map of an image of 6291456 bytes"):
        card_image(image).size(silent)


def mapped(*ranges: str, block: str = "4096", size: str = "40960") -> str:
    listed = "".join(f"<Range>{each}</Range>" for each in ranges)
    return (
        f"<bmap><BlockSize>{block}</BlockSize><ImageSize>{size}</ImageSize>"
        f"<BlockMap>{listed}</BlockMap></bmap>"
    )


def test_ranges_of_a_map(tmp_path: Path) -> None:
    path = tmp_path / "card.bmap"
    path.write_text(mapped(" 0-1 ", "3", "9-9", size="40000"))
    assert read_map(path).ranges == ((0, 8192), (12288, 16384), (36864, 40000))


@pytest.mark.parametrize(
    "text",
    [
        *("", "<bmap/>", "no XML", "<bmap><BlockSize>x</BlockSize></bmap>"),
        *(mapped("0-1", "1-2"), mapped("2", "1"), mapped("2-1"), mapped("10"), mapped("-1")),
        *(mapped("9" * 5000), mapped("\N{SUPERSCRIPT TWO}"), mapped("0", block="0")),
        *(mapped("0", size="9" * 5000), mapped("0", size="-1")),
        "<!DOCTYPE bmap [<!ENTITY a 'x'>]>" + mapped("0"),
        "<a>" * 1000,
    ],
    ids=lambda text: text[:60],
)
def test_a_broken_map_is_refused(image: Path, text: str) -> None:
    Path(f"{image}.bmap").write_text(text)
    with pytest.raises(UserError, match="is not a block map"):
        card_image(image)


@pytest.mark.parametrize("ending", [".xz", ".zst", ".gz", ".bz2", ".zip"])
def test_a_damaged_packed_image_is_found_before_anything_is_written(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"card.img{ending}"
    path.write_bytes(b"this is none")
    with pytest.raises(UserError, match="is damaged"):
        card_image(path).size(silent)


def test_a_packed_image_that_ends_early_is_found(image: Path) -> None:
    for ending in (".xz", ".zst"):
        path = packed(image, ending)
        os.truncate(path, path.stat().st_size - 1000)
        with pytest.raises(UserError, match="is damaged"):
            card_image(path).size(silent)


def test_a_packed_image_that_is_damaged_in_the_middle_is_found(image: Path) -> None:
    content = os.urandom(100_000)
    for ending, pack in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)):
        path = Path(f"{image}{ending}")
        damaged = bytearray(pack(content))
        damaged[len(damaged) // 2 : len(damaged) // 2 + 100] = bytes(100)
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="is damaged"):
            card_image(path).size(silent)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_image_in_a_zip_file_is_packed_by_deflate(tmp_path: Path, method: int) -> None:
    path = tmp_path / "card.img.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("card.img", bytes(1000))
    with pytest.raises(UserError, match="its image is not compressed with Deflate"):
        card_image(path).size(silent)


def test_an_image_is_no_larger_than_cards_are(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(image, ".xz")
    for module in ("builder.flash.image", "builder.formats.compression"):
        monkeypatch.setattr(f"{module}.MOST", 1 << 20)
    with pytest.raises(UserError, match="unpacks to more than"):
        card_image(path).size(silent)
    with pytest.raises(UserError, match="unpacks to more than"):
        unpack(path, image)


# The command


@pytest.fixture
def run(
    build_py: CommandLine, card: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """Run `build.py flash` where the file `card` is a removable device."""
    monkeypatch.setattr("builder.cli.flash.become_root", lambda _: None)
    monkeypatch.setattr("stat.S_ISBLK", lambda _: True)

    def flash_(
        *words: str | Path, device: dict[str, Any] | None = None, answer: str = ""
    ) -> Answer:
        shown = table(device or entry(str(card), size=8 * MIB))
        monkeypatch.setattr("builder.flash.devices._listed", lambda: shown)
        if answer:
            monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
            monkeypatch.setattr("builtins.input", lambda _: answer)
        return build_py.there("flash", *map(str, words))

    return flash_


def test_the_command_writes_verifies_and_says_so(
    run: Callable[..., Answer], image: Path, block_map: Path, card: Path
) -> None:
    Path(f"{image}.sha256").write_text(f"{digest(image.read_bytes())}  {image.name}\n")
    answer = run(image, card, "--yes")
    assert answer.errors == ""
    assert answer.status == 0
    assert "written and verified" in answer.output
    assert f"all data on {card} (ACME Card Reader, 8 MiB) will be lost" in answer.output
    assert card.read_bytes()[:MIB] == image.read_bytes()[:MIB]


def test_a_wrong_checksum_is_refused_and_nothing_written(
    run: Callable[..., Answer], image: Path, card: Path
) -> None:
    Path(f"{image}.sha256").write_text(f"{'0' * 64}  {image.name}\n")
    answer = run(image, card, "--yes")
    assert answer.status == 2
    assert "is damaged: its checksum is not that of card.img.sha256" in answer.errors
    assert card.read_bytes() == OLD * 8


@pytest.mark.parametrize("answer", ["no", "y", "\n"])
def test_anything_but_yes_writes_nothing(
    run: Callable[..., Answer], image: Path, card: Path, answer: str
) -> None:
    said = run(image, card, answer=answer)
    assert said.status == 130
    assert "nothing was written" in said.errors
    assert card.read_bytes() == OLD * 8


def test_yes_on_a_terminal_writes(run: Callable[..., Answer], image: Path, card: Path) -> None:
    assert run(image, card, answer="yes").status == 0
    assert card.read_bytes()[: 6 * MIB] == image.read_bytes()


def test_without_a_terminal_yes_is_required(
    run: Callable[..., Answer], image: Path, card: Path
) -> None:
    answer = run(image, card)
    assert answer.status == 2
    assert "add --yes" in answer.errors
    assert card.read_bytes() == OLD * 8


def test_without_bmaptool_nothing_is_asked(
    run: Callable[..., Answer], image: Path, card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    answer = run(image, card)
    assert answer.status == 4
    assert "bmaptool is not installed" in answer.errors
    assert "apt-get install bmap-tools" in answer.errors


def test_too_small_a_card_is_refused(run: Callable[..., Answer], image: Path, card: Path) -> None:
    answer = run(image, card, "--yes", device=entry(str(card), size=5 * MIB))
    assert answer.status == 2
    assert "is too small" in answer.errors
    assert card.read_bytes() == OLD * 8


def test_a_disk_that_is_not_removable_needs_the_option(
    run: Callable[..., Answer], image: Path, card: Path
) -> None:
    disk = fixed(str(card), size=8 * MIB)
    assert "--fixed-disk" in run(image, card, "--yes", device=disk).errors
    assert run(image, card, "--yes", "--fixed-disk", device=disk).status == 0


def test_without_a_device_the_cards_are_listed(
    run: Callable[..., Answer], image: Path, card: Path
) -> None:
    answer = run()
    assert answer.status == 0
    assert answer.output.splitlines()[1].split()[0] == str(card)
    assert "ACME Card Reader" in answer.output
    answer = run(image)
    assert answer.status == 2
    assert str(card) in answer.output
    assert "no device named" in answer.errors
    nothing = run(device=fixed("/dev/sda"))
    assert nothing.output == "no removable device with a card found\n"


def test_a_board_stands_for_its_image(
    run: Callable[..., Answer], image: Path, card: Path, tmp_path: Path
) -> None:
    answer = run("--board", "B", card, "--yes")
    assert answer.status == 2
    assert f"hint: {typed('--board', 'B')}\n" in answer.errors
    (tmp_path / "output/B").mkdir(parents=True)
    image.rename(tmp_path / "output/B/B.img")
    assert run("--board", "B", card, "--yes").status == 0
    assert run("--board", "B", "other.img", card, "--yes").status == 2


@pytest.mark.parametrize("name", ["missing.img", "."])
def test_other_files_are_refused(run: Callable[..., Answer], card: Path, name: str) -> None:
    answer = run(name, card, "--yes")
    assert answer.status == 2
    assert "--board NAME" in answer.errors


def test_progress_for_programs_is_one_object_a_line(
    run: Callable[..., Answer], image: Path, card: Path
) -> None:
    answer = run(image, card, "--yes", "--progress", "json")
    events = [json.loads(line) for line in answer.output.splitlines()]
    assert {event["stage"] for event in events} == {"writing", "verifying"}
    assert events[-1]["done"] == events[-1]["total"]
