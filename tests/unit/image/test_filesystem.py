# SPDX-License-Identifier: MIT
"""The root filesystem: number of inodes, and blocks that are written to the image."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from builder.image.filesystem import (
    BLOCK,
    FEATURES,
    UNSYNCED,
    Content,
    Ext4Format,
    content_of,
    make_root,
    move_boot,
)
from builder.rootfs.layers import MountedRoot
from builder.sandbox.workspace import Workspace
from builder.steps.step import Job
from tests.fixtures.cards import tool

MIB = 1 << 20
SIZE = 128 * MIB
OFFSET = 2 * MIB
UUID = uuid.UUID("64448fe0-ddfb-5348-96b1-ed8a57f75452")


class Here:
    """A workspace that runs commands directly on the host."""

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        **_: object,
    ) -> str:
        words = [word for word in argv if word != UNSYNCED or shutil.which(UNSYNCED)]
        return tool(*words, environment=environment)

    def outside(self, path: Path) -> Path:
        return path


@pytest.fixture
def root(tmp_path: Path) -> MountedRoot:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/file").write_text("x")
    (tree / "sub/link").symlink_to("file")
    return MountedRoot(path=tree, changes=tree, workspace=cast(Workspace, Here()))


def made(
    job: Job,
    root: MountedRoot,
    writer: Path,
    *,
    inodes: int = 4096,
    features: tuple[str, ...] = FEATURES,
) -> Path:
    """Create a root filesystem in an empty image."""
    image = job.output / "image"
    with image.open("wb") as file:
        file.truncate(OFFSET + SIZE)
    form = Ext4Format(
        label="root",
        uuid=UUID,
        offset=OFFSET,
        size=SIZE,
        inodes=inodes,
        epoch=1_700_000_000,
        features=features,
    )
    make_root(job, root, image, form, writer=writer / "files")
    return image


def inodes_of(image: Path, *, offset: int = OFFSET) -> int:
    found = re.search(r"Inode count: +(\d+)", tool("dumpe2fs", "-h", f"{image}?offset={offset}"))
    assert found
    return int(found[1])


def test_a_tree_is_measured_with_all_its_names(root: MountedRoot) -> None:
    assert content_of(root).entries == len(["", "sub", "sub/file", "sub/link"])


def test_a_boot_partition_gets_files_and_directories_alone(
    job: Job, root: MountedRoot, tmp_path: Path
) -> None:
    (root.path / "boot/folder").mkdir(parents=True)
    (root.path / "boot/folder/file").write_text("x")
    (root.path / "boot/link").symlink_to("/etc/passwd")
    os.mkfifo(root.path / "boot/folder/pipe")  # copying it would wait forever
    staging = tmp_path / "staging"
    staging.mkdir()
    move_boot(job, root, staging, epoch=1_700_000_000)
    found = {path.relative_to(staging).as_posix() for path in staging.rglob("*")}
    assert found == {"folder", "folder/file"}
    assert [*(root.path / "boot").iterdir()] == []


@pytest.mark.parametrize("size", [100 * MIB, 512 * MIB - 4096, 512 * MIB, 1801 * MIB])
def test_there_are_as_many_inodes_as_mke2fs_makes(tmp_path: Path, size: int) -> None:
    numbers = []
    for options in ((), ("-N", str(Content(entries=1, size=size).inodes(size)))):
        tool(
            *("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", *options),
            *(tmp_path / "image", str(size // 4096)),
            environment={"MKE2FS_CONFIG": str(tmp_path / "none")},  # its built-in defaults
        )
        numbers.append(inodes_of(tmp_path / "image", offset=0))
        (tmp_path / "image").unlink()
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("free", [0, 1000 * MIB])
def test_many_small_files_have_an_inode_each(free: int) -> None:
    content = Content(entries=95_000, size=546 * MIB)
    room = free // 16384
    assert content.inodes(content.size + free) >= content.entries + 10 + room


def test_a_filesystem_has_the_inodes_that_it_is_to_have(
    job: Job, root: MountedRoot, ext4_writer: Path
) -> None:
    assert 100_000 <= inodes_of(made(job, root, ext4_writer, inodes=100_000)) < 101_000


def holes(image: Path, first: int, last: int) -> bool:
    """Return whether there are holes among the blocks of the filesystem in an image."""
    start, end = (OFFSET + block * BLOCK for block in (first, last + 1))
    with image.open("rb") as file:
        # Pages that were only read count as data while they are in memory.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return os.lseek(file.fileno(), start, os.SEEK_HOLE) < end


def test_the_journal_is_no_hole(job: Job, root: MountedRoot, ext4_writer: Path) -> None:
    """After a crash, old journal blocks on the card could be mistaken for current ones."""
    image = made(job, root, ext4_writer)
    listed = tool("debugfs", "-R", "blocks <8>", f"{image}?offset={OFFSET}")
    blocks = sorted(map(int, listed.split()))
    assert len(blocks) > 1000
    assert not [block for block in blocks if holes(image, block, block)]


def test_inode_tables_without_checksums_are_no_holes(
    job: Job, root: MountedRoot, ext4_writer: Path
) -> None:
    """A card that is written by data ranges keeps old data in the image's holes."""
    features = tuple(name for name in FEATURES if name != "metadata_csum")
    image = made(job, root, ext4_writer, features=features)
    groups = tool("dumpe2fs", f"{image}?offset={OFFSET}")
    tables = re.findall(r"Inode table at (\d+)-(\d+)", groups)
    assert tables
    assert not [table for table in tables if holes(image, *map(int, table))]
