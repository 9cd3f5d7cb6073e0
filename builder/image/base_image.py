# SPDX-License-Identifier: MIT
"""The parts of an existing card image: its head, its root filesystem, and facts about it."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builder.errors import UserError
from builder.formats.compression import SUFFIXES, plain_name, unpack
from builder.formats.ext4 import Ext4, superblock
from builder.formats.ext4_archive import archive_tree
from builder.image.filesystem import FEATURES
from builder.rootfs.bootstrap import installed
from builder.sandbox.workspace import Workspace
from builder.spec.models import Architecture
from builder.steps.layer_archive import LAYER
from builder.steps.step import Job, Step
from builder.store.checksum import sha256

HEAD = "head.img"
"""In the step's output: the image up to its root partition (partition table, boot files)."""

FACTS = "facts.json"
"""In the step's output: the facts about the image."""

_SECTOR = 512
_HOLES = 4
"""Limit of the total size of all files, holes included, as a multiple of the partition's size."""

_FAT_TYPES = ("1", "4", "6", "b", "c", "e", "ef")
_LINUX_TYPE = "83"
# Elf64_Ehdr and Elf32_Ehdr, e_machine (elf(5)).
_MACHINES = {40: Architecture.ARMHF, 183: Architecture.ARM64}
_SHELLS = ("/bin/dash", "/bin/bash", "/bin/busybox", "/bin/sh")


@dataclass(frozen=True, kw_only=True)
class BaseFacts:
    """Facts about a card image.

    sha256: SHA-256 of the uncompressed image.
    size: size of the image in bytes.
    boot_offset, boot_size: offset and size of the FAT partition in bytes.
    root_offset, root_size: offset and size of the root partition in bytes.
    label, uuid: label and UUID of the root filesystem.
    features: those features of the root filesystem that are also in `FEATURES`.
    epoch: time of the last write, in seconds since 1970.
    architecture: architecture of the programs.
    os: the variables of os-release(5).
    suites: code names of the releases in apt's sources.
    packages: versions of the packages that dpkg has installed, by name.
    python: version of python3, or "" without one.
    board: board in REVISION on the boot partition, or "".
    boot_mounted: whether /boot is empty and fstab(5) mounts a partition on it.
    """

    sha256: str
    size: int
    boot_offset: int
    boot_size: int
    root_offset: int
    root_size: int
    label: str
    uuid: str
    features: tuple[str, ...]
    epoch: int
    architecture: Architecture
    os: Mapping[str, str]
    suites: tuple[str, ...]
    packages: Mapping[str, str]
    python: str
    board: str
    boot_mounted: bool

    @classmethod
    def read(cls, output: Path) -> BaseFacts:
        """Read the facts from the step's output."""
        found: dict[str, Any] = json.loads((output / FACTS).read_text())
        found["architecture"] = Architecture(found["architecture"])
        for name in ("features", "suites"):
            found[name] = tuple(found[name])
        return cls(**found)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """An uncompressed image, and offset and size of its partitions in bytes."""

    image: Path
    checksum: str
    boot: tuple[int, int]
    root: tuple[int, int]


class BaseImage(Step):
    """The parts of an existing card image, which is only read.

    `checksum` is the SHA-256 of the file, compressed or not.
    """

    packages = ("e2fsprogs", "fdisk", "mtools")

    def __init__(self, path: Path, checksum: str) -> None:
        super().__init__("base-image", scope="customized")
        self.path = path
        self.checksum = checksum

    def settings(self) -> Mapping[str, object]:
        return {"sha256": self.checksum, "packed": self._is_compressed}

    def run(self, job: Job) -> None:
        # On disk, not on tmpfs: images are large and read once.
        with (
            job.store.scratch("base-image") as scratch,
            job.workspace("base-image", need=1 << 20) as workspace,
        ):
            image, checksum = self.path, self.checksum
            if self._is_compressed:
                image = scratch / plain_name(self.path)
                job.say(f"decompressing {self.path.name}")
                unpack(self.path, image)
                checksum = sha256(image)
            boot, root = self._partitions(job, workspace, image)
            tree, offset = self._readable(job, workspace, image, root, scratch)
            job.say("reading the root filesystem")
            with Ext4(tree, offset=offset) as filesystem:
                parts = _Parts(image=image, checksum=checksum, boot=boot, root=root)
                facts = self._facts(job, workspace, parts, filesystem)
                archive = scratch / "root.tar"
                with archive.open("wb") as file:
                    count = archive_tree(filesystem, file, most=_HOLES * root[1])
            job.say(f"{count} files")
            job.run(workspace, "zstd", "-q", "-1", "-T0", archive, "-o", job.output / LAYER)
            head = job.output / HEAD
            job.run(
                workspace,
                *("dd", f"if={image}", f"of={head}", "bs=1M", "status=none", "conv=sparse"),
                *("iflag=count_bytes", f"count={root[0]}"),
            )
            with head.open("r+b") as file:
                file.truncate(root[0])
        (job.output / FACTS).write_text(json.dumps(asdict(facts), indent=1))

    @property
    def _is_compressed(self) -> bool:
        return self.path.suffix in SUFFIXES

    def _problem(self, message: str, hint: str | None = None) -> UserError:
        return UserError(f"{self.path}: {message}", hint=hint)

    def _partitions(
        self, job: Job, workspace: Workspace, image: Path
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return offset and size, in bytes, of the FAT partition and of the root partition."""
        with image.open("rb") as file:
            if file.read(512)[510:] != b"\x55\xaa":
                raise self._problem("not a card image: there is no partition table")
        table = json.loads(job.run(workspace, "sfdisk", "--json", image))["partitiontable"]
        if table["label"] != "dos":
            raise self._problem(f"the partition table is {table['label']}, not dos (MBR)")
        found = [
            (item["type"].lower(), item["start"] * _SECTOR, item["size"] * _SECTOR)
            for item in table.get("partitions", ())
        ]
        kinds = ", ".join(kind for kind, _, _ in found)
        wanted = "a card needs two partitions: FAT with the boot files, then ext4 with the system"
        if len(found) != 2 or found[0][0] not in _FAT_TYPES or found[1][0] != _LINUX_TYPE:
            raise self._problem(f"the types of the partitions are {kinds or 'none'}", wanted)
        boot, root = ((start, size) for _, start, size in found)
        size = image.stat().st_size
        if not boot[0] + boot[1] <= root[0] < size or root[0] + root[1] > size:
            raise self._problem("the partitions overlap or exceed the image", "download it again")
        if not superblock(image, offset=root[0]).is_one:
            raise self._problem("the second partition contains no ext4", wanted)
        return boot, root

    def _readable(
        self, job: Job, workspace: Workspace, image: Path, root: tuple[int, int], scratch: Path
    ) -> tuple[Path, int]:
        """Return a file with the root filesystem, and its offset there in bytes.

        That is the image, or a copy if the journal has to be replayed: the card was removed from a
        running board.
        """
        offset, size = root
        if not superblock(image, offset=offset).needs_recovery:
            return image, offset
        job.say("replaying the journal in a copy: the root filesystem was not unmounted")
        copy = scratch / "root.ext4"
        job.run(
            workspace,
            *("dd", f"if={image}", f"of={copy}", "bs=1M", "status=none", "conv=sparse"),
            *("iflag=skip_bytes,count_bytes", f"skip={offset}", f"count={size}"),
        )
        with copy.open("r+b") as file:
            file.truncate(size)
        # 1: errors were corrected (e2fsck(8)).
        job.run(workspace, "sh", "-c", 'e2fsck -f -y "$0" || [ $? -eq 1 ]', copy)
        return copy, 0

    def _facts(
        self,
        job: Job,
        workspace: Workspace,
        parts: _Parts,
        filesystem: Ext4,
    ) -> BaseFacts:
        image, boot, root = parts.image, parts.boot, parts.root
        header = superblock(image, offset=root[0])
        listed = job.run(workspace, "dumpe2fs", "-h", f"{image}?offset={root[0]}")
        features = re.search(r"^Filesystem features: +(.*)$", listed, re.MULTILINE)
        has = features[1].split() if features else []
        dpkg = filesystem.read("/var/lib/dpkg/status")
        if dpkg is None:
            raise self._problem(
                "the system has no dpkg", "only images of Debian, Ubuntu and PYNQ can be customized"
            )
        python = filesystem.find("/usr/bin/python3")
        return BaseFacts(
            sha256=parts.checksum,
            size=image.stat().st_size,
            boot_offset=boot[0],
            boot_size=boot[1],
            root_offset=root[0],
            root_size=root[1],
            label=header.label,
            uuid=header.uuid,
            features=tuple(name for name in FEATURES if name in has),
            epoch=header.written,
            architecture=self._architecture(filesystem),
            os=_os_release(filesystem.read("/etc/os-release") or ""),
            suites=_suites(filesystem),
            packages={str(item["package"]): str(item["version"]) for item in installed(dpkg)},
            python=_python(filesystem) if python else "",
            board=_board(job, workspace, f"{image}@@{boot[0]}"),
            boot_mounted=_boot_mounted(filesystem),
        )

    def _architecture(self, filesystem: Ext4) -> Architecture:
        for name in _SHELLS:
            found = filesystem.find(name)
            if found:
                header = next(filesystem.content(found), b"")[:20]
                machine = int.from_bytes(header[18:20], "little")
                if header[:4] == b"\x7fELF" and machine in _MACHINES:
                    return _MACHINES[machine]
        raise self._problem("the programs are not for the processor of a Zynq")


def _os_release(text: str) -> dict[str, str]:
    """Return the variables of an os-release(5) file."""
    found = re.findall(r"^([A-Z_]+)=(?:\"(.*)\"|'(.*)'|(.*))$", text, re.MULTILINE)
    return {name: "".join(values) for name, *values in found}


def _suites(filesystem: Ext4) -> tuple[str, ...]:
    """Return the releases in apt's sources, in one-line and deb822 style."""
    texts = [filesystem.read("/etc/apt/sources.list") or ""]
    folder = filesystem.find("/etc/apt/sources.list.d")
    if folder and folder.is_directory:
        texts += [
            filesystem.read(f"/etc/apt/sources.list.d/{os.fsdecode(name)}") or ""
            for name in sorted(filesystem.entries(folder.number))
        ]
    text = "\n".join(texts)
    found = re.findall(r"^deb (?:\[.*?\] )?\S+ (\S+)", text, re.MULTILINE)
    found += [
        name for line in re.findall(r"^Suites: (.*)$", text, re.MULTILINE) for name in line.split()
    ]
    return tuple(dict.fromkeys(name.partition("-")[0].partition("/")[0] for name in found))


def _python(filesystem: Ext4) -> str:
    """Return the version of python3, from the name that its link points to."""
    folder = filesystem.find("/usr/bin")
    number = filesystem.entries(folder.number).get(b"python3") if folder else None
    if number is None:
        return ""
    inode = filesystem.inode(number)
    if not stat.S_ISLNK(inode.mode):
        return ""
    target = os.fsdecode(filesystem.link(inode))
    return target.rpartition("/")[2].removeprefix("python")


def _boot_mounted(filesystem: Ext4) -> bool:
    """Return whether a system mounts a partition on an empty /boot."""
    table = filesystem.read("/etc/fstab") or ""
    mounted = re.search(r"^[^#\s]\S*\s+/boot/?\s", table, re.MULTILINE)
    found = filesystem.find("/boot")
    return bool(mounted and found and found.is_directory and not filesystem.entries(found.number))


def _board(job: Job, workspace: Workspace, partition: str) -> str:
    """Return the board in REVISION on a boot partition, or ""."""
    text = job.run(workspace, "sh", "-c", 'mtype -i "$0" ::/REVISION || true', partition)
    found = re.search(r"^Board: (\S+)$", text.replace("\r", ""), re.MULTILINE)
    return found[1] if found else ""
