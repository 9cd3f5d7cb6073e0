# SPDX-License-Identifier: MIT
"""The root filesystem in a card image, written straight into it, and the files beside an image."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from builder.engine.workspace import Workspace
from builder.steps.ext4_writer import WRITER
from builder.steps.layers import Root
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
"""What an ext4 of ours has."""

UNSYNCED = "eatmydata"
"""Before a tool's name: it does not wait for the disk, which others may be writing to.

The store syncs what it keeps, once it is whole.
"""

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Ext4Format:
    """What tells a filesystem apart, which of ext4's features it has, and where it goes.

    offset, size: in its image, in bytes.
    epoch: its date, in seconds since 1970.
    """

    label: str
    uuid: uuid.UUID
    offset: int
    size: int
    epoch: int
    features: tuple[str, ...] = FEATURES


def content_size(root: Root) -> int:
    """Return the bytes that a tree takes in an ext4, with what the filesystem itself needs."""
    listed = root.workspace.run(["find", root.path, "-xdev", "-printf", "%s %y\\n"]).splitlines()
    blocks = 0
    for line in listed:
        size, kind = line.split()
        # Short links live in their inode, devices have no content.
        if kind in "fd":
            blocks += -(-int(size) // BLOCK)
    # Inodes (256 bytes), block maps and the journal, which mke2fs sizes by the whole.
    return int(blocks * BLOCK * 1.02) + len(listed) * 512 + 96 * _MIB


def take_boot(job: Job, root: Root, staging: Path, *, epoch: int) -> None:
    """Move what a tree has in /boot, where the board mounts another partition, to `staging`.

    The directory itself stays, and with it the time of the one above it. Links stay behind: a FAT has
    none, and they may lead to files of this machine.
    """
    mount_point = root.at("boot")
    job.run(root.workspace, "cp", "-rT", mount_point, staging)
    links = job.run(root.workspace, "find", staging, "-type", "l", "-print", "-delete")
    for link in links.splitlines():
        job.say(f"left out, since a FAT has no links: /boot/{Path(link).relative_to(staging)}")
    job.run(root.workspace, "find", mount_point, "-mindepth", "1", "-delete")
    job.run(root.workspace, "touch", "-d", f"@{epoch}", mount_point)


def make_root(job: Job, root: Root, image: Path, form: Ext4Format, *, writer: Path) -> None:
    """Write a tree as an ext4 into an image; `writer` is the output of `Ext4Writer`."""
    run, workspace = job.run, root.workspace
    job.say(f"root: a filesystem of {form.size // _MIB} MiB")
    date = {"E2FSPROGS_FAKE_TIME": str(form.epoch), "E2FSCK_TIME": str(form.epoch)}
    run(
        workspace,
        *(UNSYNCED, "mke2fs", "-q", "-F", "-t", "ext4", "-L", form.label),
        *("-b", str(BLOCK), "-I", "256", "-m", "1"),
        *("-O", ",".join(("none", *form.features)), "-U", str(form.uuid)),
        # The kernel zeroes inode tables at first mount: a card written by its block map has
        # old data where the image has holes.
        *("-E", f"offset={form.offset},hash_seed={form.uuid},nodiscard,lazy_itable_init=1"),
        *(image, str(form.size // BLOCK)),
        environment=date,
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
