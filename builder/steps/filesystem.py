# SPDX-License-Identifier: MIT
"""The root filesystem in a card image, written straight into it, and the files beside an image."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from builder.engine.workspace import Workspace
from builder.steps.layers import Root
from builder.steps.sparse import sha256
from builder.steps.step import Job

BLOCK = 4096
"""Size of a block in bytes."""

_CHECKSUMS = "metadata_csum"

# One line of features, so that the tools of every release make the same filesystem, which the
# oldest distribution's fsck (jammy's 1.46) understands: no orphan_file, no metadata_csum_seed.
FEATURES = (
    *("has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit"),
    *("flex_bg", "sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize"),
    _CHECKSUMS,
)
"""What an ext4 of ours has."""

_GROUP_CHECKSUMS = "uninit_bg"
"""Of block groups alone; with these or the former, inode tables need not be written."""

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Ext4Format:
    """What tells a filesystem apart, and which of ext4's features it has."""

    label: str
    uuid: uuid.UUID
    features: tuple[str, ...] = FEATURES


def content_size(job: Job, root: Root) -> int:
    """Return the bytes that a tree takes in an ext4, with what the filesystem itself needs."""
    listed = root.workspace.run(
        ["find", root.path, "-xdev", "-printf", "%s %y\\n"], log=None
    ).splitlines()
    blocks = 0
    for line in listed:
        size, kind = line.split()
        # Short links live in their inode, devices have no content.
        if kind in "fd":
            blocks += -(-int(size) // BLOCK)
    # Inodes (256 bytes), block maps and the journal, which mke2fs sizes by the whole.
    content = int(blocks * BLOCK * 1.02) + len(listed) * 512 + 96 * _MIB
    job.say(f"root: {len(listed)} files, {content // _MIB} MiB with the filesystem's own")
    return content


def take_boot(job: Job, root: Root, staging: Path, *, epoch: int) -> None:
    """Move what a tree has in /boot, where the board mounts another partition, to `staging`.

    The directory itself stays, and with it the time of the one above it.
    """
    mount_point = root.path / "boot"
    job.run(root.workspace, "cp", "-rT", mount_point, staging)
    job.run(root.workspace, "find", mount_point, "-mindepth", "1", "-delete")
    job.run(root.workspace, "touch", "-d", f"@{epoch}", mount_point)


def make_root(
    job: Job, root: Root, image: Path, form: Ext4Format, *, offset: int, size: int, epoch: int
) -> None:
    """Write a tree as an ext4 of `size` bytes at `offset` of an image; `epoch` (s) is its date."""
    date = {"E2FSPROGS_FAKE_TIME": str(epoch), "E2FSCK_TIME": str(epoch)}
    # mke2fs computes the checksums of an inode and of its extents again with each of its blocks, which
    # is half of its time. So they come afterwards, as on any filesystem that gets them later.
    late = _CHECKSUMS in form.features
    features = [_GROUP_CHECKSUMS if each == _CHECKSUMS else each for each in form.features]
    job.run(
        root.workspace,
        *("mke2fs", "-q", "-F", "-t", "ext4", "-L", form.label),
        *("-b", str(BLOCK), "-I", "256", "-m", "1"),
        *("-O", ",".join(("none", *features)), "-U", str(form.uuid)),
        # The kernel zeroes inode tables at first mount: a card written by its block map has
        # old data where the image has holes.
        *("-E", f"offset={offset},hash_seed={form.uuid},nodiscard,lazy_itable_init=1"),
        *("-d", root.path, image, str(size // BLOCK)),
        environment=date,
    )
    device = f"{image}?offset={offset}"
    _settle_times(job, root.workspace, device, epoch)
    if late:
        job.run(root.workspace, "tune2fs", "-O", _CHECKSUMS, device, environment=date)
    # Directories get room for their checksums, and their index, which mke2fs leaves out.
    job.run(
        root.workspace,
        *("sh", "-c", 'e2fsck -f -p -D "$0" || [ $? = 1 ]', device),  # 1: it changed something
        environment=date,
    )


def _settle_times(job: Job, workspace: Workspace, device: str, epoch: int) -> None:
    """Set what mke2fs takes from the tree's inodes and no tool can set there: ctime, atime.

    Without this two builds of the same content differ.
    """
    header = job.run(workspace, "dumpe2fs", "-h", device)
    fields = dict(
        line.split(":", 1) for line in header.splitlines() if line.count(":") and line[0] != " "
    )
    used = int(fields["Inode count"]) - int(fields["Free inodes"])
    # mke2fs fills inodes one after the other from the first free one.
    inodes = [2, *range(int(fields["First inode"]), used + 1)]
    script = workspace.directory / "times.debugfs"
    workspace.outside(script).write_text(
        "".join(
            f"set_inode_field <{inode}> {field} @{epoch}\n"
            for inode in inodes
            for field in ("ctime", "atime")
        )
    )
    workspace.run(
        ["debugfs", "-w", "-f", script, device],
        environment={"E2FSPROGS_FAKE_TIME": str(epoch)},
    )
    workspace.outside(script).unlink()


def seal(job: Job, workspace: Workspace, image: Path, *, root_size: int) -> None:
    """Write an image's block map and checksum beside it, and both with its sizes to image.json."""
    with ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(sha256, image)
        job.run(workspace, "bmaptool", "create", "-o", f"{image}.bmap", image)
        checksum = hashing.result()
    Path(f"{image}.sha256").write_text(f"{checksum}  {image.name}\n")
    facts = {"sha256": checksum, "size": image.stat().st_size, "root-size": root_size}
    (job.output / "image.json").write_text(json.dumps(facts, indent=1))
