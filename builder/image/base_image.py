# SPDX-License-Identifier: MIT
"""A card image that is there already, taken apart: what is before its root filesystem, and that."""

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
"""In the step's output: the image up to its root partition, with partition table and boot files."""

FACTS = "facts.json"

_SECTOR = 512
_HOLES = 4
"""How much larger than their partition all files may be, with their holes."""

_FAT_TYPES = ("1", "4", "6", "b", "c", "e", "ef")
_LINUX_TYPE = "83"
# Elf64_Ehdr and Elf32_Ehdr, e_machine (elf(5)).
_MACHINES = {40: Architecture.ARMHF, 183: Architecture.ARM64}
_SHELLS = ("/bin/dash", "/bin/bash", "/bin/busybox", "/bin/sh")


@dataclass(frozen=True, kw_only=True)
class BaseFacts:
    """Facts about a card image.

    sha256: of the image, not packed.
    size: of the image, in bytes.
    boot_offset, boot_size: of the FAT partition, in bytes.
    root_offset, root_size: of the root partition, in bytes.
    label, uuid, features: of the root filesystem; of the features those that we know.
    epoch: when it was last written, in seconds since 1970.
    architecture: of its programs.
    os: what its os-release says.
    suites: code names of releases that its apt takes packages from.
    packages: what dpkg has installed: name and version.
    python: version of its python3, "" without one.
    board: the board whose boot files are on it, if they say so.
    boot_mounted: whether its /boot is the FAT partition, and nothing is hidden below.
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
        """Read what the step wrote."""
        found: dict[str, Any] = json.loads((output / FACTS).read_text())
        found["architecture"] = Architecture(found["architecture"])
        for name in ("features", "suites"):
            found[name] = tuple(found[name])
        return cls(**found)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """An image that is not packed, and offset and size of its partitions, in bytes."""

    image: Path
    checksum: str
    boot: tuple[int, int]
    root: tuple[int, int]


class BaseImage(Step):
    """An image's parts, and the facts about it. The image itself is only read.

    `checksum` is the SHA-256 of the file, packed as it is.
    """

    packages = ("e2fsprogs", "fdisk", "mtools")

    def __init__(self, path: Path, checksum: str) -> None:
        super().__init__("base-image", scope="customized")
        self.path = path
        self.checksum = checksum

    def settings(self) -> Mapping[str, object]:
        return {"sha256": self.checksum, "packed": self._packed}

    def run(self, job: Job) -> None:
        # On disk: images are large, and read once.
        with (
            job.store.scratch("base-image") as scratch,
            job.workspace("base-image", need=1 << 20) as workspace,
        ):
            image, checksum = self.path, self.checksum
            if self._packed:
                image = scratch / plain_name(self.path)
                job.say(f"unpacking {self.path.name}")
                unpack(self.path, image)
                checksum = sha256(image)
            boot, root = self._partitions(job, workspace, image)
            tree, offset = self._readable(job, workspace, image, root, scratch)
            job.say("taking the root filesystem out")
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
    def _packed(self) -> bool:
        return self.path.suffix in SUFFIXES

    def _problem(self, what: str, hint: str | None = None) -> UserError:
        return UserError(f"{self.path}: {what}", hint=hint)

    def _partitions(
        self, job: Job, workspace: Workspace, image: Path
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return offset and size, in bytes, of the FAT partition and of the root partition."""
        with image.open("rb") as file:
            if file.read(512)[510:] != b"\x55\xaa":
                raise self._problem("is no card image: it has no partition table")
        table = json.loads(job.run(workspace, "sfdisk", "--json", image))["partitiontable"]
        if table["label"] != "dos":
            raise self._problem(f"has a partition table of the kind {table['label']}, not an MBR")
        found = [
            (item["type"].lower(), item["start"] * _SECTOR, item["size"] * _SECTOR)
            for item in table.get("partitions", ())
        ]
        kinds = ", ".join(kind for kind, _, _ in found)
        wanted = "a card has two partitions: FAT with the boot files, then ext4 with the system"
        if len(found) != 2 or found[0][0] not in _FAT_TYPES or found[1][0] != _LINUX_TYPE:
            raise self._problem(f"has partitions of the types {kinds}", wanted)
        boot, root = ((start, size) for _, start, size in found)
        size = image.stat().st_size
        if not boot[0] + boot[1] <= root[0] < size or root[0] + root[1] > size:
            raise self._problem("its partitions overlap, or end behind its end", "fetch it again")
        if not superblock(image, offset=root[0]).is_one:
            raise self._problem("has no ext4 in its second partition", wanted)
        return boot, root

    def _readable(
        self, job: Job, workspace: Workspace, image: Path, root: tuple[int, int], scratch: Path
    ) -> tuple[Path, int]:
        """Return where the root filesystem is: in the image, or in a copy whose journal is empty.

        A card out of a running board has not all in its place.
        """
        offset, size = root
        if not superblock(image, offset=offset).needs_recovery:
            return image, offset
        job.say("the root filesystem was in use: a copy of it is put in order first")
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
        said = superblock(image, offset=root[0])
        listed = job.run(workspace, "dumpe2fs", "-h", f"{image}?offset={root[0]}")
        features = re.search(r"^Filesystem features: +(.*)$", listed, re.MULTILINE)
        has = features[1].split() if features else []
        dpkg = filesystem.read("/var/lib/dpkg/status")
        if dpkg is None:
            raise self._problem(
                "its system has no dpkg", "images of Debian, Ubuntu and PYNQ can be customized"
            )
        python = filesystem.find("/usr/bin/python3")
        return BaseFacts(
            sha256=parts.checksum,
            size=image.stat().st_size,
            boot_offset=boot[0],
            boot_size=boot[1],
            root_offset=root[0],
            root_size=root[1],
            label=said.label,
            uuid=said.uuid,
            features=tuple(name for name in FEATURES if name in has),
            epoch=said.written,
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
        raise self._problem("its programs are for no processor of a Zynq")


def _os_release(text: str) -> dict[str, str]:
    """Read os-release(5)."""
    found = re.findall(r"^([A-Z_]+)=(?:\"(.*)\"|'(.*)'|(.*))$", text, re.MULTILINE)
    return {name: "".join(values) for name, *values in found}


def _suites(filesystem: Ext4) -> tuple[str, ...]:
    """Return the releases in apt's lists of sources: the one-line style, and deb822's."""
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
    """Return the version of python3, which is a link to its program."""
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
    """Return whether a system mounts something at /boot, where it has nothing itself."""
    table = filesystem.read("/etc/fstab") or ""
    mounted = re.search(r"^[^#\s]\S*\s+/boot/?\s", table, re.MULTILINE)
    found = filesystem.find("/boot")
    return bool(mounted and found and found.is_directory and not filesystem.entries(found.number))


def _board(job: Job, workspace: Workspace, partition: str) -> str:
    """Return the board that REVISION on a boot partition names."""
    text = job.run(workspace, "sh", "-c", 'mtype -i "$0" ::/REVISION || true', partition)
    found = re.search(r"^Board: (\S+)$", text.replace("\r", ""), re.MULTILINE)
    return found[1] if found else ""
