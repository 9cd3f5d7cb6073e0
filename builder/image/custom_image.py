# SPDX-License-Identifier: MIT
"""A card image made from one that was there: its boot partition, and a new root filesystem."""

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
    seal,
    take_boot,
)
from builder.image.identity import forget
from builder.report.console import size as shown_size
from builder.rootfs.layers import MountedRoot, layer_stack
from builder.sandbox.workspace import Workspace
from builder.steps.step import ROOT_FILESYSTEM, Job, Step
from builder.untrusted.tree import ForeignTree

IMAGE = "image.img"
"""The image's name in the step's output."""

_MIB = 1 << 20


class CustomImage(Step):
    """The image, its checksum and its block map.

    All before the root partition is as in the base image, but for the boot files that are given.
    The root partition keeps its place, and its size if that is enough for the content and `free`
    bytes; label, UUID and features of its filesystem stay.
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
            for line in forget(root.files):
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
                seal(job, root.workspace, image, root_size=size)

    def _boot_files(self, job: Job, root: MountedRoot) -> Path:
        """Return a directory with what is to go onto the FAT partition.

        That are the given files, and what recipes put into /boot, if that is this partition.
        """
        staging = root.workspace.directory / "fat"
        job.run(root.workspace, "rm", "-rf", staging)
        job.run(root.workspace, "mkdir", staging)
        if self.facts.boot_mounted:
            take_boot(job, root, staging, epoch=self.facts.epoch)
        if self.boot_files:
            job.run(root.workspace, "cp", "--", *self.boot_files, staging)
        return staging

    def _boot(self, job: Job, workspace: Workspace, image: Path, staging: Path) -> None:
        """Put files onto the FAT partition, in place of those of the same name."""
        files = ForeignTree(workspace.outside(staging))
        given = files.names("/")
        if not given:
            return
        epoch = self.facts.epoch
        job.run(workspace, "find", staging, "-exec", "touch", "-h", "-d", f"@{epoch}", "{}", "+")
        partition = f"{image}@@{self.facts.boot_offset}"
        # Those that go first, so that there is room for those that come.
        script = 'for name do mdel -i "$0" "::/$name" 2> /dev/null || true; done'
        job.run(workspace, "sh", "-c", script, partition, *given)
        free = int(job.run(workspace, "sh", "-c", _FREE, partition).strip() or 0)
        needed = sum(status.st_size for _, status in files.walk())
        if free < needed:
            raise UserError(
                f"the boot partition has {shown_size(free)} left for the boot files, which take "
                f"{shown_size(needed)}",
                hint="build the image with a larger `partitions.boot`",
            )
        job.run(
            workspace,
            *("mcopy", "-s", "-m", "-o", "-i", partition),
            *(staging / name for name in given),
            "::/",
            environment={"TZ": "UTC", "SOURCE_DATE_EPOCH": str(epoch)},
        )


# mdir ends with a line like "   123 456 bytes free".
_FREE = "mdir -i \"$0\" ::/ | sed -n 's/ bytes free$//p' | tr -d ' '"


def _write_head(source: Path, image: Path, facts: BaseFacts) -> None:
    """Begin an image with what another one has before its root partition.

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
        # What is between the partitions, and between their table and the first.
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
