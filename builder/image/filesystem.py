# SPDX-License-Identifier: MIT
"""The root filesystem in a card image, written straight into it, and the files beside an image."""

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

# One line of features, so that the tools of every release make the same filesystem, which the
# oldest distribution's fsck (jammy's 1.46) understands: no orphan_file, no metadata_csum_seed.
FEATURES = (
    *("has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit"),
    *("flex_bg", "sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize"),
    "metadata_csum",
)
"""Features of the ext4 filesystems that are made here."""

UNSYNCED = "eatmydata"
"""Before a tool's name: it does not wait for the disk, which others may be writing to.

The store syncs what it keeps, once it is whole.
"""

_MIB = 1 << 20
_EMPTY = "nodiscard,lazy_itable_init=1,lazy_journal_init=0"
"""Options by which mke2fs writes an empty journal, and no inode tables where it can."""

# mke2fs makes an inode for so many bytes (inode_ratio in mke2fs.conf(5)): types small and default.
_SMALL = 512 * _MIB
_SMALL_RATIO = 4096
_RATIO = 16384
_RESERVED_INODES = 11
"""Inodes that a filesystem needs itself, with that of /lost+found."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """The room that a tree takes in an ext4.

    entries: its files, directories and links.
    size: in bytes, with what the filesystem itself needs.
    """

    entries: int
    size: int

    def inodes(self, size: int) -> int:
        """Return the number of inodes for a filesystem of `size` bytes with this content.

        That is mke2fs's own number, unless many small files need more: then one for each entry, and
        one for each 16 KiB that are left.
        """
        usual = size // (_SMALL_RATIO if size < _SMALL else _RATIO)
        return max(usual, self.entries + _RESERVED_INODES + (size - self.size) // _RATIO)


@dataclass(frozen=True, kw_only=True)
class Ext4Format:
    """Identity, features, place and size of a filesystem.

    offset, size: in its image, in bytes.
    inodes: how many it has at least.
    epoch: its date, in seconds since 1970.
    """

    label: str
    uuid: uuid.UUID
    offset: int
    size: int
    inodes: int
    epoch: int
    features: tuple[str, ...] = FEATURES


def content_of(root: MountedRoot) -> Content:
    """Measure what a tree takes in an ext4."""
    listed = root.workspace.run(["find", root.path, "-xdev", "-printf", "%s %y\\n"]).splitlines()
    blocks = 0
    for line in listed:
        size, kind = line.split()
        # Short links live in their inode, devices have no content.
        if kind in "fd":
            blocks += -(-int(size) // BLOCK)
    # Inodes (256 bytes), block maps and the journal, which mke2fs sizes by the whole.
    whole = int(blocks * BLOCK * 1.02) + len(listed) * 512 + 96 * _MIB
    return Content(entries=len(listed), size=whole)


def take_boot(job: Job, root: MountedRoot, staging: Path, *, epoch: int) -> None:
    """Move what a tree has in /boot, where the board mounts another partition, to `staging`.

    The directory itself stays, and with it the time of the one above it. Links, pipes and
    devices stay behind: a FAT has none, and links may lead to files of this machine.
    """
    mount_point = root.at("boot")
    job.run(root.workspace, "cp", "-rT", mount_point, staging)
    others = ("!", "-type", "f", "!", "-type", "d")
    left_out = job.run(root.workspace, "find", staging, *others, "-print", "-delete")
    for path in left_out.splitlines():
        name = Path(path).relative_to(staging)
        job.say(f"left out, since a FAT has only files and directories: /boot/{name}")
    job.run(root.workspace, "find", mount_point, "-mindepth", "1", "-delete")
    job.run(root.workspace, "touch", "-d", f"@{epoch}", mount_point)


def make_root(job: Job, root: MountedRoot, image: Path, form: Ext4Format, *, writer: Path) -> None:
    """Write a tree as an ext4 into an image; `writer` is the output of `Ext4Writer`."""
    run, workspace = job.run, root.workspace
    job.say(f"root: a filesystem of {form.size // _MIB} MiB")
    date = {"E2FSPROGS_FAKE_TIME": str(form.epoch), "E2FSCK_TIME": str(form.epoch)}
    # A card written by its block map has old data where the image has holes. So the journal's zeros
    # are written, and those of inode tables, unless they have checksums: then the kernel zeroes them
    # at first mount.
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
    # Directories get their index.
    run(
        workspace,
        *(UNSYNCED, "sh", "-c", 'e2fsck -f -p -D "$0" || [ $? = 1 ]'),  # 1: it changed something
        f"{image}?offset={form.offset}",
        environment=date,
    )


def seal(job: Job, workspace: Workspace, image: Path, *, root_size: int) -> None:
    """Write an image's block map and checksum beside it, and both with its sizes to image.json."""
    with ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(sha256_once, image)
        job.run(workspace, "bmaptool", "create", "-o", f"{image}.bmap", image)
        checksum = hashing.result()
    Path(f"{image}.sha256").write_text(f"{checksum}  {image.name}\n")
    facts = {"sha256": checksum, "size": image.stat().st_size, "root-size": root_size}
    (job.output / "image.json").write_text(json.dumps(facts, indent=1))
