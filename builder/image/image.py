# SPDX-License-Identifier: MIT
"""The SD-card image: MBR, a FAT partition with the boot files, an ext4 root partition.

Both filesystems are created in the image file at their offsets, without loop devices, mounts or
copies.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from builder.errors import StepError, UserError
from builder.formats.card_image import FAT_TYPES, SECTOR, check_card
from builder.formats.sparse import written_meanwhile
from builder.image.ext4_writer import Ext4Writer
from builder.image.filesystem import (
    BLOCK,
    UNSYNCED,
    Ext4Format,
    content_of,
    make_root,
    move_boot,
    write_checksums,
)
from builder.rootfs.layers import MountedRoot, layer_stack
from builder.sandbox.workspace import Workspace
from builder.spec.models import BEFORE_PARTITIONS, END_OF_TABLE, Partitions
from builder.spec.texts import format_size
from builder.steps.step import ROOT_FILESYSTEM, Job, Step
from builder.store.checksum import sha256_once
from builder.untrusted.tree import ForeignTree

MIB = 1 << 20
BOOT_OFFSET = BEFORE_PARTITIONS

BOOT_LABEL = "PYNQ"
ROOT_LABEL = "root"
"""Labels of the partitions; the image's /etc/fstab refers to them."""
_FAT32_FROM = 64 * MIB
_NAMESPACE = uuid.UUID("b6d1ab9f-3f4f-4d0c-9d0b-0b2f6f3d7a55")


class Image(Step):
    """The image, its checksum and its block map."""

    packages = ("dosfstools", "mtools", "e2fsprogs", "eatmydata", "fdisk", "bmap-tools")
    capabilities = ROOT_FILESYSTEM

    def __init__(
        self,
        board: str,
        partitions: Partitions,
        *,
        layers: Sequence[Step],
        boot_files: Step,
        board_file: Path,
        epoch: int,
    ) -> None:
        self.writer = Ext4Writer()
        parents = {step.name: step for step in (*layers, self.writer)}
        parents["boot-files"] = boot_files
        super().__init__("image", scope=board, parents=parents)
        self.board = board
        self.partitions = partitions
        self.layers = [step.name for step in layers]
        self.board_file = board_file
        self.epoch = epoch

    def settings(self) -> Mapping[str, object]:
        return {
            "board": self.board,
            "partitions": self.partitions.model_dump(mode="json"),
            "epoch": self.epoch,
        }

    def run(self, job: Job) -> None:
        stack = layer_stack(job)
        image = job.output / f"{self.board}.img"
        with stack.mounted([job.entry(name) for name in self.layers], log=job.log) as root:
            staging = self._boot_files(job, root)
            image.touch()
            with written_meanwhile(image):
                with ThreadPoolExecutor(1) as pool:
                    counting = pool.submit(content_of, root)
                    self._boot(job, root.workspace, image, staging)
                    content = counting.result()
                    size = self._root_size(content.size)
                self._partition(job, root.workspace, image, size)
                make_root(
                    job,
                    root,
                    image,
                    Ext4Format(
                        label=ROOT_LABEL,
                        uuid=self._uuid("root"),
                        offset=BOOT_OFFSET + self.partitions.boot,
                        size=size,
                        inodes=content.inodes(size),
                        epoch=self.epoch,
                    ),
                    writer=job.input(self.writer.name),
                )
                check_card(image, self._boot_bin(job))
                write_checksums(job, root.workspace, image, root_size=size)

    def _boot_bin(self, job: Job) -> bytes:
        """Return the content of BOOT.BIN; FAT ignores the case of its name."""
        fat = job.input("boot-files") / "fat"
        found = [path for path in fat.iterdir() if path.name.upper() == "BOOT.BIN"]
        if len(found) != 1:
            raise StepError(
                f"{self.board}: the boot files contain {len(found)} files BOOT.BIN; the BootROM "
                "needs exactly one",
                hint="check `bsp` in board.yaml, which the boot files come from",
            )
        return found[0].read_bytes()

    def _uuid(self, purpose: str) -> uuid.UUID:
        return uuid.uuid5(_NAMESPACE, f"{self.board} {purpose}")

    def _problem(self, key: str, message: str) -> UserError:
        return UserError(f"{self.board_file}: partitions.{key}: {message}")

    def _root_size(self, content: int) -> int:
        """Return the size of the root partition in bytes."""
        wanted = self.partitions.root
        if wanted.size is None:
            size = -(-(content + wanted.free) // MIB) * MIB
            if BOOT_OFFSET + self.partitions.boot + size > END_OF_TABLE:
                raise self._problem("root.free", "the root partition would exceed the largest card")
            return size
        if wanted.size < content:
            raise self._problem(
                "root.size",
                f"{format_size(wanted.size)} is too small: the content takes {content // MIB + 1}M",
            )
        return wanted.size

    def _partition(self, job: Job, workspace: Workspace, image: Path, root_size: int) -> None:
        boot_size = self.partitions.boot
        with image.open("r+b") as file:
            file.truncate(BOOT_OFFSET + boot_size + root_size)
        kind = FAT_TYPES[fat_kind(boot_size)]
        first, second = BOOT_OFFSET // SECTOR, (BOOT_OFFSET + boot_size) // SECTOR
        table = (
            f"label: dos\nlabel-id: 0x{self._uuid('disk').hex[:8]}\n"
            f"start={first}, size={boot_size // SECTOR}, type={kind:x}, bootable\n"
            f"start={second}, size={root_size // SECTOR}, type=83\n"
        )
        job.run(
            workspace,
            *(UNSYNCED, "sfdisk", "--quiet", "--no-reread", "--no-tell-kernel"),
            "--wipe-partitions=never",
            image,
            stdin=table,
        )

    def _boot_files(self, job: Job, root: MountedRoot) -> Path:
        """Collect the content of the FAT partition in a directory, and return it.

        The board mounts this partition on /boot, so files that recipes install there are included.
        Boot files replace files of the same name.
        """
        source = job.input("boot-files") / "fat"
        staging = root.workspace.directory / "fat"
        job.run(root.workspace, "rm", "-rf", staging)
        move_boot(job, root, staging, epoch=self.epoch)
        job.run(root.workspace, "cp", "-rT", source, staging)
        files = ForeignTree(root.workspace.outside(staging))
        files.write("REVISION", self._revision(source).encode(), mode=0o644)
        size = self.partitions.boot
        taken = sum(-(-status.st_size // BLOCK) * BLOCK for _, status in files.walk())
        if taken + MIB > size:
            raise self._problem(
                "boot",
                f"{format_size(size)} is too small: the boot files take {taken // MIB + 2}M",
            )
        return staging

    def _boot(self, job: Job, workspace: Workspace, image: Path, staging: Path) -> None:
        """Create the FAT partition."""
        size = self.partitions.boot
        # Zeros instead of a hole: a block map must cover the whole FAT partition, or old data of
        # the card appears in directory sectors that should be zero (bmap-tools issue 128).
        with image.open("r+b") as file:
            file.seek(BOOT_OFFSET)
            for _ in range(size // MIB):
                file.write(bytes(MIB))
        job.run(
            workspace,
            *(UNSYNCED, "mkfs.vfat", "--invariant", *fat_geometry(size)),
            *("-n", BOOT_LABEL, "-i", self._uuid("boot").hex[:8]),
            *("--offset", str(BOOT_OFFSET // SECTOR), image, str(size // 1024)),
        )
        job.run(
            workspace, "find", staging, "-exec", "touch", "-h", "-d", f"@{self.epoch}", "{}", "+"
        )
        job.run(
            workspace,
            *("mcopy", "-s", "-m", "-i", f"{image}@@{BOOT_OFFSET}"),
            *(staging / name for name in ForeignTree(workspace.outside(staging)).names("/")),
            "::/",
            environment={"TZ": "UTC", "SOURCE_DATE_EPOCH": str(self.epoch)},
        )
        job.run(workspace, "rm", "-rf", staging)

    def _revision(self, source: Path) -> str:
        release = (source.parent / "kernel-release").read_text().strip()
        date = time.strftime("%Y-%m-%d", time.gmtime(self.epoch))
        return f"Board: {self.board}\nPackages as of: {date}\nLinux: {release}\n"


def fat_kind(size: int) -> str:
    """Return the kind of FAT, "16" or "32", for `size` bytes; the BootROM reads both."""
    return "32" if size >= _FAT32_FROM else "16"


def fat_geometry(size: int) -> list[str]:
    """Return mkfs.vfat's options for kind of FAT and size of clusters, for `size` bytes.

    By default mkfs.vfat chooses them for the whole image. A FAT with fewer than 65525 clusters is a
    FAT16 whatever its header says (Microsoft's FAT specification).
    """
    kind = fat_kind(size)
    most = 1 << 19 if kind == "32" else 65524
    sectors = 1
    while size // SECTOR // sectors > most:
        sectors *= 2
    return ["-F", kind, "-s", str(sectors)]


class Compressed(Step):
    """A compressed image and its checksum."""

    packages = ("zstd", "xz-utils")
    wide = True

    def __init__(self, image: Step, board: str, kind: str) -> None:
        super().__init__(f"image.{kind}", scope=board, parents={"image": image})
        self.board = board
        self.kind = kind

    def settings(self) -> Mapping[str, object]:
        return {"kind": self.kind}

    def run(self, job: Job) -> None:
        source = job.input("image") / f"{self.board}.img"
        target = job.output / f"{self.board}.img.{self.kind}"
        command = {"zst": ["zstd", "-q", "-9", "-T0"], "xz": ["xz", "-3", "-T0"]}[self.kind]
        with job.workspace("compress", need=1 << 20) as workspace:
            job.run(
                workspace,
                "sh",
                "-c",
                '"$@" < "$0" > "$OUT"',
                source,
                *command,
                environment={"OUT": str(target)},
            )
        Path(f"{target}.sha256").write_text(f"{sha256_once(target)}  {target.name}\n")
