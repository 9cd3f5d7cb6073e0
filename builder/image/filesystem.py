# SPDX-License-Identifier: MIT
"""The root filesystem of a card image, and the files that accompany an image."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from builder.image.ext4_writer import WRITER
from builder.rootfs.layers import MountedRoot
from builder.sandbox.workspace import Workspace
from builder.steps.step import Job
from builder.store.checksum import sha256_once

BLOCK = 4096
"""Size of a block in bytes."""

# An explicit list, so that all releases of e2fsprogs create the same filesystem. fsck of the oldest
# distribution (jammy, 1.46) must support it: no orphan_file, no metadata_csum_seed.
FEATURES = (
    *("has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit"),
    *("flex_bg", "sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize"),
    "metadata_csum",
)
"""Features of the root filesystem's ext4."""

UNSYNCED = "eatmydata"
"""Prefix of commands that must not wait for the disk, which other steps may be writing to.

The store syncs the complete output.
"""

_MIB = 1 << 20
_EMPTY = "nodiscard,lazy_itable_init=1,lazy_journal_init=0"
"""Options of mke2fs: write an empty journal; skip inode tables if the features allow it."""

# Bytes per inode (inode_ratio in mke2fs.conf(5)) of the usage types small and default.
_SMALL = 512 * _MIB
_SMALL_RATIO = 4096
_RATIO = 16384
_RESERVED_INODES = 11
"""Inodes that the filesystem itself uses, including /lost+found."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """The space that a tree needs in an ext4.

    entries: number of files, directories and links.
    size: bytes, including the overhead of the filesystem.
    """

    entries: int
    size: int

    def inodes(self, size: int) -> int:
        """Return the number of inodes for a filesystem of `size` bytes with this content.

        It is mke2fs's default, unless many small files need more: then one for each entry and one
        for each 16 KiB of free space.
        """
        usual = size // (_SMALL_RATIO if size < _SMALL else _RATIO)
        return max(usual, self.entries + _RESERVED_INODES + (size - self.size) // _RATIO)


@dataclass(frozen=True, kw_only=True)
class Ext4Format:
    """Parameters of a filesystem in an image.

    label, uuid: its identity.
    offset, size: its position in the image, in bytes.
    inodes: minimum number of inodes.
    epoch: time of its creation, in seconds since 1970.
    features: features of ext4.
    """

    label: str
    uuid: uuid.UUID
    offset: int
    size: int
    inodes: int
    epoch: int
    features: tuple[str, ...] = FEATURES


def content_of(root: MountedRoot) -> Content:
    """Return the space that a tree needs in an ext4."""
    listed = root.workspace.run(["find", root.path, "-xdev", "-printf", "%s %y\\n"]).splitlines()
    blocks = 0
    for line in listed:
        size, kind = line.split()
        # Short links are stored in their inodes; devices have no content.
        if kind in "fd":
            blocks += -(-int(size) // BLOCK)
    # Plus inodes (256 bytes), block maps and the journal; its size depends on the total.
    whole = int(blocks * BLOCK * 1.02) + len(listed) * 512 + 96 * _MIB
    return Content(entries=len(listed), size=whole)


def move_boot(job: Job, root: MountedRoot, staging: Path, *, epoch: int) -> None:
    """Move the content of a tree's /boot, the mount point of the FAT partition, to `staging`.

    The directory itself remains, so that its parent's time does not change. Links, pipes and
    devices are dropped: FAT does not support them, and links may lead to files of the host. `epoch`
    becomes the time of /boot, in seconds since 1970.
    """
    mount_point = root.at("boot")
    job.run(root.workspace, "cp", "-rT", mount_point, staging)
    others = ("!", "-type", "f", "!", "-type", "d")
    dropped = job.run(root.workspace, "find", staging, *others, "-print", "-delete")
    for path in dropped.splitlines():
        name = Path(path).relative_to(staging)
        job.say(f"dropping /boot/{name}: FAT supports only files and directories")
    job.run(root.workspace, "find", mount_point, "-mindepth", "1", "-delete")
    job.run(root.workspace, "touch", "-d", f"@{epoch}", mount_point)


def make_root(job: Job, root: MountedRoot, image: Path, form: Ext4Format, *, writer: Path) -> None:
    """Write a tree into an image as an ext4; `writer` is the output of `Ext4Writer`."""
    run, workspace = job.run, root.workspace
    job.say(f"creating a root filesystem of {form.size // _MIB} MiB")
    date = {"E2FSPROGS_FAKE_TIME": str(form.epoch), "E2FSCK_TIME": str(form.epoch)}
    # A card that is written by block map keeps old data in the image's holes. So mke2fs must write
    # the zeros of the journal, and of inode tables unless they have checksums: then the kernel
    # zeroes them at first mount.
    zeros = {"UNIX_IO_NOZEROOUT": "1"}
    run(
        workspace,
        *(UNSYNCED, "mke2fs", "-q", "-F", "-t", "ext4", "-L", form.label),
        *("-b", str(BLOCK), "-I", "256", "-N", str(form.inodes), "-m", "1"),
        *("-O", ",".join(("none", *form.features)), "-U", str(form.uuid)),
        *("-E", f"offset={form.offset},hash_seed={form.uuid},{_EMPTY}"),
        *(image, str(form.size // BLOCK)),
        environment={**date, **zeros},
    )
    run(workspace, writer / WRITER, image, str(form.offset), root.path, str(form.epoch))
    # Index the directories.
    run(
        workspace,
        *(UNSYNCED, "sh", "-c", 'e2fsck -f -p -D "$0" || [ $? = 1 ]'),  # 1: errors were corrected
        f"{image}?offset={form.offset}",
        environment=date,
    )


def write_checksums(job: Job, workspace: Workspace, image: Path, *, root_size: int) -> None:
    """Write an image's block map and checksum beside it, its checksum and sizes to image.json."""
    with ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(sha256_once, image)
        job.run(workspace, "bmaptool", "create", "-o", f"{image}.bmap", image)
        checksum = hashing.result()
    Path(f"{image}.sha256").write_text(f"{checksum}  {image.name}\n")
    facts = {"sha256": checksum, "size": image.stat().st_size, "root-size": root_size}
    (job.output / "image.json").write_text(json.dumps(facts, indent=1))
