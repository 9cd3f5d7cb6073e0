# SPDX-License-Identifier: MIT
"""The card image: partitions, filesystems, checksums."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import StepError, UserError
from builder.formats.card_image import SECTOR
from builder.image.image import BOOT_OFFSET, MIB, Compressed, Image, fat_geometry
from builder.rootfs.layers import MountedRoot
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PrivateWorkspace, Workspace
from builder.spec.models import END_OF_TABLE, Partitions
from builder.store.checksum import sha256
from tests.fixtures.jobs import MakeJob, url_source

PROGRAMS = (
    *("sfdisk", "mkfs.vfat", "mcopy", "mdir", "mke2fs", "dumpe2fs", "debugfs", "bmaptool"),
    "eatmydata",
)
needs_programs = pytest.mark.skipif(
    any(shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None for name in PROGRAMS),
    reason=f"needs {', '.join(PROGRAMS)}",
)


class Card:
    """A builder of small images of a root filesystem with a few files."""

    def __init__(self, base: Path, workspace: Workspace, make_job: MakeJob, writer: Path) -> None:
        self.base = base
        self.writer = writer
        self.make_job = make_job
        self.tree = base / "tree"
        self.root = MountedRoot(path=self.tree, changes=self.tree, workspace=workspace)
        (self.tree / "etc").mkdir(parents=True)
        (self.tree / "etc/hostname").write_text("pynq\n")
        (self.tree / "etc/link").symlink_to("hostname")
        (self.tree / "boot").mkdir()
        fat = base / "boot/files/fat"
        fat.mkdir(parents=True)
        (fat / "BOOT.BIN").write_bytes(b"boot" * 1000)
        (base / "boot/files/kernel-release").write_text("5.15.0-zynq\n")

        self.age()

    def age(self) -> None:
        """Create the tree again, as unpacking a layer does."""
        old = self.tree.rename(self.base / "old")
        shutil.copytree(old, self.tree, symlinks=True)
        shutil.rmtree(old)
        for path in (self.tree, *self.tree.rglob("*")):
            os.utime(path, (time.time(), 1_600_000_000), follow_symlinks=False)

    @property
    def inputs(self) -> dict[str, Path]:
        return {"boot-files": self.base / "boot", "ext4-writer": self.writer}

    def build(self, partitions: dict[str, object], *, output: str = "output") -> Path:
        step = Image(
            "B",
            Partitions.model_validate(partitions),
            layers=[],
            boot_files=url_source("http://x.invalid/boot"),
            board_file=self.base / "board.yaml",
            epoch=1_700_000_000,
        )
        job = self.make_job(output, self.root, **self.inputs)
        step.run(job)
        return job.output / "B.img"


@pytest.fixture
def card(
    tmp_path: Path, processes: Processes, make_job: MakeJob, ext4_writer: Path, needs_root: None
) -> Iterator[Card]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        yield Card(tmp_path, workspace, make_job, ext4_writer)


def told(*argv: object) -> str:
    words = [str(word) for word in argv]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout


SMALL: dict[str, object] = {"boot": "16M", "root": {"free": "8M"}}


@needs_programs
def test_the_image_has_two_partitions_with_their_filesystems(card: Card) -> None:
    image = card.build(SMALL)
    table = json.loads(told("sfdisk", "--json", image))["partitiontable"]
    assert table["label"] == "dos"
    boot, root = table["partitions"]
    assert (boot["start"], boot["size"]) == (BOOT_OFFSET // SECTOR, 16 * MIB // SECTOR)
    assert (boot["type"], boot["bootable"]) == ("e", True)
    assert root["start"] == boot["start"] + boot["size"]
    assert root["type"] == "83"
    assert (root["start"] + root["size"]) * SECTOR == image.stat().st_size
    assert root["start"] * SECTOR % MIB == 0
    offset = root["start"] * SECTOR
    listing = told("debugfs", "-R", "ls -p /etc", f"{image}?offset={offset}")
    assert {line.split("/")[5] for line in listing.splitlines() if line} >= {"hostname", "link"}
    header = told("dumpe2fs", "-h", f"{image}?offset={offset}")
    blocks = next(line for line in header.splitlines() if line.startswith("Block count:"))
    assert int(blocks.split()[-1]) * 4096 == root["size"] * SECTOR
    files = told("mdir", "-b", "-i", f"{image}@@{BOOT_OFFSET}", "::/").split()
    assert sorted(files) == ["::/BOOT.BIN", "::/REVISION"]


@needs_programs
def test_a_boot_partition_of_64_mib_is_fat32(card: Card) -> None:
    image = card.build({**SMALL, "boot": "64M"})
    (boot, _) = json.loads(told("sfdisk", "--json", image))["partitiontable"]["partitions"]
    assert (boot["type"], boot["bootable"]) == ("c", True)


@needs_programs
def test_no_image_without_a_first_stage(card: Card) -> None:
    (card.base / "boot/files/fat/BOOT.BIN").unlink()
    with pytest.raises(StepError, match=r"the boot files contain 0 files BOOT.BIN"):
        card.build(SMALL)
    assert not [*card.base.glob("output/*.sha256")]


@needs_programs
def test_what_recipes_put_into_boot_is_on_the_boot_partition_alone(card: Card) -> None:
    (card.tree / "boot/folder").mkdir()
    (card.tree / "boot/boot.py").write_text("of a recipe")
    (card.tree / "boot/folder/file").touch()
    (card.tree / "boot/BOOT.BIN").write_text("gives way to the board's")
    image = card.build(SMALL)
    fat = f"{image}@@{BOOT_OFFSET}"
    assert told("mtype", "-i", fat, "::/boot.py") == "of a recipe"
    assert told("mdir", "-b", "-i", fat, "::/folder").split() == ["::/folder/file"]
    assert told("mtype", "-i", fat, "::/BOOT.BIN") == "boot" * 1000
    assert [*(card.tree / "boot").iterdir()] == []
    assert (card.tree / "boot").stat().st_mtime == 1_700_000_000
    assert card.tree.stat().st_mtime == 1_600_000_000, "or two builds would differ"


@needs_programs
def test_checksum_block_map_and_facts_are_those_of_the_image(card: Card) -> None:
    image = card.build(SMALL)
    assert Path(f"{image}.sha256").read_text() == f"{sha256(image)}  B.img\n"
    facts = json.loads((image.parent / "image.json").read_text())
    assert facts["sha256"] == sha256(image)
    assert facts["size"] == image.stat().st_size
    assert f"<ImageSize> {image.stat().st_size} </ImageSize>" in Path(f"{image}.bmap").read_text()


@needs_programs
def test_the_same_content_gives_the_same_image(card: Card) -> None:
    first = card.build(SMALL)
    (card.base / "boot/files/fat/BOOT.BIN").touch()
    card.age()  # changes inodes and change times; only modification times remain
    assert sha256(card.build(SMALL, output="again")) == sha256(first)


@needs_programs
@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        ({"root": {"size": "1M"}}, "partitions.root.size: 1M is too small: the content takes "),
        ({"boot": "8M"}, "partitions.boot: 8M is too small: the boot files take 11M"),
        (
            {"boot": "16M", "root": {"free": END_OF_TABLE - (20 << 20)}},
            "partitions.root.free: the root partition would exceed the largest card",
        ),
    ],
)
def test_a_partition_that_is_too_small_is_the_users_error(
    card: Card, partitions: dict[str, object], message: str
) -> None:
    (card.base / "boot/files/fat/image.ub").write_bytes(bytes(9 * MIB))
    with pytest.raises(UserError) as caught:
        card.build({**SMALL, **partitions})
    assert caught.value.message.startswith(f"{card.base}/board.yaml: {message}")


@pytest.mark.usefixtures("needs_root")
@pytest.mark.parametrize(("kind", "program"), [("xz", "xz"), ("zst", "zstd")])
def test_the_compressed_image_unpacks_to_the_image(
    make_job: MakeJob, tmp_path: Path, kind: str, program: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    image = tmp_path / "image/files/B.img"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"content" * 1000)
    job = make_job(image=tmp_path / "image")
    Compressed(url_source("http://x.invalid/x"), "B", kind).run(job)
    packed = job.output / f"B.img.{kind}"
    unpacked = subprocess.run([program, "-dc", packed], capture_output=True, check=True).stdout
    assert unpacked == image.read_bytes()
    assert Path(f"{packed}.sha256").read_text() == f"{sha256(packed)}  {packed.name}\n"


@pytest.mark.parametrize(
    ("mebibytes", "kind", "sectors"),
    [(8, "16", 1), (63, "16", 2), (64, "32", 1), (100, "32", 1), (256, "32", 1), (512, "32", 2)],
)
def test_clusters_fit_the_kind_of_fat(mebibytes: int, kind: str, sectors: int) -> None:
    assert fat_geometry(mebibytes << 20) == ["-F", kind, "-s", str(sectors)]
    clusters = (mebibytes << 20) // 512 // sectors
    assert (clusters >= 65525 + 1024) == (kind == "32")
