# SPDX-License-Identifier: MIT
"""A customized card image: the boot partition of an existing image, a new root filesystem."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.errors import UserError
from builder.formats.sparse import written_meanwhile
from builder.image.base_image import HEAD, BaseFacts, BaseImage
from builder.image.ext4_writer import Ext4Writer
from builder.image.filesystem import (
    UNSYNCED,
    Ext4Format,
    content_of,
    make_root,
    move_boot,
    write_checksums,
)
from builder.image.identity import remove_identity
from builder.report.console import size as shown_size
from builder.rootfs.layers import MountedRoot, layer_stack
from builder.sandbox.workspace import Workspace
from builder.steps.step import ROOT_FILESYSTEM, Job, Step
from builder.untrusted.tree import ForeignTree

IMAGE = "image.img"
"""The file name of the image in the step's output."""

_MIB = 1 << 20


class CustomImage(Step):
    """The customized image, its checksum and its block map.

    Everything before the root partition is copied from the base image, except for `boot_files`. The
    root partition keeps its offset; it grows if its content and `free` bytes exceed its size.
    Label, UUID and features of its filesystem are those of the base image.
    """

    packages = ("mtools", "e2fsprogs", "eatmydata", "fdisk", "bmap-tools")
    capabilities = ROOT_FILESYSTEM

    def __init__(
        self,
        base: BaseImage,
        facts: BaseFacts,
        *,
        layers: Sequence[Step],
        boot_files: Sequence[Path],
        free: int,
    ) -> None:
        self.writer = Ext4Writer()
        super().__init__(
            "image",
            scope="customized",
            parents={step.name: step for step in (base, *layers, self.writer)},
        )
        self.base = base.name
        self.facts = facts
        self.layers = [step.name for step in layers]
        self.boot_files = tuple(boot_files)
        self.free = free

    def settings(self) -> Mapping[str, object]:
        return {"free": self.free, "boot files": [path.name for path in self.boot_files]}

    def files(self) -> Sequence[Path]:
        return self.boot_files

    def run(self, job: Job) -> None:
        facts = self.facts
        stack = layer_stack(job)
        image = job.output / IMAGE
        with stack.mounted([job.entry(name) for name in self.layers], log=job.log) as root:
            for line in remove_identity(root.files):
                job.say(line)
            staging = self._boot_files(job, root)
            content = content_of(root)
            needed = -(-(content.size + self.free) // _MIB) * _MIB
            size = max(facts.root_size, needed)
            _write_head(job.input(self.base) / HEAD, image, facts)
            with image.open("r+b") as file:
                file.truncate(facts.root_offset + size)
            job.run(
                root.workspace,
                *(UNSYNCED, "sfdisk", "--quiet", "--no-reread", "--no-tell-kernel"),
                *("-N", "2", image),
                stdin=f"{facts.root_offset // 512}, {size // 512}\n",
            )
            with written_meanwhile(image):
                self._boot(job, root.workspace, image, staging)
                make_root(
                    job,
                    root,
                    image,
                    Ext4Format(
                        label=facts.label,
                        uuid=uuid.UUID(facts.uuid),
                        features=facts.features,
                        offset=facts.root_offset,
                        size=size,
                        inodes=content.inodes(size),
                        epoch=facts.epoch,
                    ),
                    writer=job.input(self.writer.name),
                )
                write_checksums(job, root.workspace, image, root_size=size)

    def _boot_files(self, job: Job, root: MountedRoot) -> Path:
        """Collect the new files of the FAT partition in a directory, and return it.

        They are the given boot files and, if the partition is mounted on /boot, the files that
        recipes install there.
        """
        staging = root.workspace.directory / "fat"
        job.run(root.workspace, "rm", "-rf", staging)
        job.run(root.workspace, "mkdir", staging)
        if self.facts.boot_mounted:
            move_boot(job, root, staging, epoch=self.facts.epoch)
        if self.boot_files:
            job.run(root.workspace, "cp", "--", *self.boot_files, staging)
        return staging

    def _boot(self, job: Job, workspace: Workspace, image: Path, staging: Path) -> None:
        """Copy files to the FAT partition; they replace files of the same names."""
        files = ForeignTree(workspace.outside(staging))
        names = files.names("/")
        if not names:
            return
        epoch = self.facts.epoch
        job.run(workspace, "find", staging, "-exec", "touch", "-h", "-d", f"@{epoch}", "{}", "+")
        partition = f"{image}@@{self.facts.boot_offset}"
        # Delete the old files first to free their space.
        script = 'for name do mdel -i "$0" "::/$name" 2> /dev/null || true; done'
        job.run(workspace, "sh", "-c", script, partition, *names)
        free = int(job.run(workspace, "sh", "-c", _FREE, partition).strip() or 0)
        needed = sum(status.st_size for _, status in files.walk())
        if free < needed:
            raise UserError(
                f"the boot files need {shown_size(needed)}, but the boot partition has only "
                f"{shown_size(free)} left",
                hint="rebuild the base image with a larger `partitions.boot`",
            )
        job.run(
            workspace,
            *("mcopy", "-s", "-m", "-o", "-i", partition),
            *(staging / name for name in names),
            "::/",
            environment={"TZ": "UTC", "SOURCE_DATE_EPOCH": str(epoch)},
        )


# mdir ends with a line like "   123 456 bytes free".
_FREE = "mdir -i \"$0\" ::/ | sed -n 's/ bytes free$//p' | tr -d ' '"


def _write_head(source: Path, image: Path, facts: BaseFacts) -> None:
    """Copy the head of the base image to a new image.

    The FAT partition is written without holes, so that a block map covers all of it: see
    `builder.image.image`.
    """
    with source.open("rb") as base, image.open("wb") as file:
        file.write(base.read(512))
        base.seek(facts.boot_offset)
        file.seek(facts.boot_offset)
        left = facts.boot_size
        while left:
            chunk = base.read(min(_MIB, left))
            file.write(chunk)
            left -= len(chunk)
        # The gaps between the partition table and the first partition, and between the partitions.
        for start, end in (
            (512, facts.boot_offset),
            (facts.boot_offset + facts.boot_size, facts.root_offset),
        ):
            base.seek(start)
            for at in range(start, end, 1 << 16):
                chunk = base.read(min(1 << 16, end - at))
                if any(chunk):
                    file.seek(at)
                    file.write(chunk)
