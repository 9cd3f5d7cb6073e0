# SPDX-License-Identifier: MIT
"""Card images of other builders are split into their parts."""

from __future__ import annotations

import io
import lzma
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.errors import UserError
from builder.formats.compression import check_sum, unpack
from builder.image.base_image import HEAD, BaseFacts, BaseImage
from builder.spec.models import Architecture
from builder.steps.layer_archive import LAYER
from builder.steps.step import Job
from builder.store.checksum import sha256
from builder.store.store import Store
from tests.fixtures.cards import (
    ARM64,
    BOOT,
    DEBIAN,
    MIB,
    ROOT,
    START,
    card,
    system,
    tool,
)
from tests.fixtures.specs import Here

Take = Callable[[Path], BaseFacts]


@pytest.fixture
def take(tmp_path: Path, store: Store) -> Take:
    """Split an image into the directory `output`."""

    def run(path: Path) -> BaseFacts:
        output = tmp_path / "output"
        output.mkdir()
        job = Job(
            inputs={},
            output=output,
            log=io.StringIO(),
            store=store,
            tools=Here(tmp_path),  # type: ignore[arg-type]
            on_line=lambda _: None,
        )
        BaseImage(path, sha256(path)).run(job)
        return BaseFacts.read(output)

    return run


@pytest.fixture(autouse=True)
def _commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a job's commands directly."""

    def run(_: Job, __: Here, *argv: str | Path, **options: Any) -> str:
        return tool(*argv, **options)

    monkeypatch.setattr(Job, "run", run)


def test_a_released_image_of_pynq_is_known_by_what_it_is_made_of(
    tmp_path: Path, take: Take
) -> None:
    image = card(tmp_path / "card.img", system(tmp_path / "tree"), "-O", "metadata_csum,64bit")
    before = sha256(image)
    facts = take(image)
    assert facts.sha256 == before == sha256(image)
    assert (facts.boot_offset, facts.boot_size) == (START, BOOT)
    assert (facts.root_offset, facts.root_size) == (START + BOOT, ROOT)
    assert facts.size == START + BOOT + ROOT
    assert facts.label == "PYNQ_ROOT"
    assert f"UUID:          {facts.uuid}\n" in tool(
        "dumpe2fs", "-h", f"{image}?offset={facts.root_offset}"
    )
    assert "metadata_csum" in facts.features
    assert facts.architecture is Architecture.ARMHF
    assert facts.os["ID"] == "pynqlinux"
    assert facts.suites == ("jammy",)
    assert facts.packages == {"dpkg": "1.21.1"}
    assert facts.python == "3.10"
    assert facts.board == ""


def test_what_is_before_the_root_partition_is_kept_byte_for_byte(
    tmp_path: Path, take: Take
) -> None:
    image = card(tmp_path / "card.img", system(tmp_path / "tree"))
    with image.open("r+b") as file:  # data of a boot loader between partition table and partition
        file.seek(8192)
        file.write(b"loader")
    take(image)
    assert (tmp_path / "output" / HEAD).read_bytes() == image.read_bytes()[: START + BOOT]


def test_the_tree_is_in_the_layer(tmp_path: Path, take: Take) -> None:
    take(card(tmp_path / "card.img", system(tmp_path / "tree")))
    listed = tool("tar", "--zstd", "-tf", tmp_path / "output" / LAYER).splitlines()
    assert {"./usr/bin/dash", "./etc/os-release", "./bin"} <= {*listed}


def test_an_image_of_ours_says_its_board(tmp_path: Path, take: Take) -> None:
    tree = system(tmp_path / "tree", os_release=DEBIAN, shell=ARM64)
    facts = take(card(tmp_path / "card.img", tree, revision="Board: ZCU111\r\nLinux: 6.1\r\n"))
    assert facts.board == "ZCU111"
    assert facts.architecture is Architecture.ARM64
    assert facts.os["VERSION_ID"] == "12"


@pytest.mark.parametrize("ending", [".xz", ".zst", ".gz", ".zip"])
def test_a_packed_image_gives_the_same(tmp_path: Path, take: Take, ending: str) -> None:
    image = card(tmp_path / "card.img", system(tmp_path / "tree"))
    packed = Path(f"{image}{ending}")
    match ending:
        case ".xz":
            packed.write_bytes(lzma.compress(image.read_bytes(), preset=0))
        case ".zip":
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.write(image, "release/card.img")
        case _:
            program = {".zst": "zstd", ".gz": "gzip"}[ending]
            done = subprocess.run([program, "-c", image], capture_output=True, check=True)
            packed.write_bytes(done.stdout)
    assert take(packed).sha256 == sha256(image)
    unpack(packed, tmp_path / "again.img")
    assert (tmp_path / "again.img").read_bytes() == image.read_bytes()
    assert (tmp_path / "again.img").stat().st_blocks * 512 < START + BOOT, "holes stay holes"


def test_a_card_out_of_a_running_board_is_put_in_order_first(tmp_path: Path, take: Take) -> None:
    image = card(tmp_path / "card.img", system(tmp_path / "tree"))
    place = f"{image}?offset={START + BOOT}"
    # As after removal of a card: the journal has to be replayed, but it contains no changes.
    tool("debugfs", "-w", "-R", "feature needs_recovery", place)
    before = sha256(image)
    assert take(image).packages == {"dpkg": "1.21.1"}
    assert sha256(image) == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.write_bytes(bytes(4 * MIB)), "not a card image"),
        (lambda p: os.truncate(p, START + BOOT + ROOT - MIB), "overlap or exceed the image"),
        (
            lambda p: tool("sfdisk", "--quiet", p, stdin="label: gpt\nsize=1M\n"),
            "the partition table is gpt, not dos",
        ),
        (
            lambda p: tool("sfdisk", "--quiet", p, stdin="label: dos\nsize=1M, type=c\n"),
            "the types of the partitions are c",
        ),
        (
            lambda p: tool(
                "dd", "if=/dev/zero", f"of={p}", "bs=1M", "seek=17", "count=1", "conv=notrunc"
            ),
            "the second partition contains no ext4",
        ),
    ],
)
def test_files_other_than_card_images_are_refused(
    tmp_path: Path, take: Take, spoil: Callable[[Path], object], message: str
) -> None:
    image = card(tmp_path / "card.img", system(tmp_path / "tree"))
    spoil(image)
    with pytest.raises(UserError, match=message):
        take(image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: (tree / "var/lib/dpkg/status").unlink(), "the system has no dpkg"),
        (
            lambda tree: (tree / "usr/bin/dash").write_bytes(b"#!"),
            "not for the processor of a Zynq",
        ),
    ],
)
def test_an_unsupported_system_is_refused(
    tmp_path: Path, take: Take, change: Callable[[Path], object], message: str
) -> None:
    tree = system(tmp_path / "tree")
    change(tree)
    with pytest.raises(UserError, match=message):
        take(card(tmp_path / "card.img", tree))


def test_a_checksum_beside_a_file_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "card.img"
    path.write_bytes(b"x")
    check_sum(path, sha256(path))
    Path(f"{path}.sha256").write_text(f"{sha256(path)}  card.img\n")
    check_sum(path, sha256(path))
    path.write_bytes(b"y")
    with pytest.raises(UserError, match="is damaged"):
        check_sum(path, sha256(path))
    Path(f"{path}.sha256").write_text("no checksum\n")
    with pytest.raises(UserError, match="does not begin with a SHA-256"):
        check_sum(path, sha256(path))
