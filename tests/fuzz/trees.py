# SPDX-License-Identifier: MIT
"""Random trees of files for the program that writes them into an ext4, and their comparison."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from builder.formats.ext4 import ROOT_INODE, Ext4
from builder.image.ext4_writer import WRITER, compilation
from builder.image.filesystem import FEATURES
from tests.fuzz.judging import Target
from tests.fuzz.mutation import of_bytes

EPOCH: Final = 1_700_000_000
_MIB: Final = 1 << 20
_SIZE: Final = 24 * _MIB
_NEW_MOUNTS: Final = 0x20000  # CLONE_NEWNS
_PATH: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_FORMS: Final = (
    ("-b", "4096", "-O", ",".join(("none", *FEATURES))),
    ("-b", "1024", "-O", ",".join(("none", *FEATURES))),
    ("-b", "1024", "-I", "128", "-O", "none,has_journal,ext_attr,dir_index,filetype,sparse_super"),
)
_NAMES: Final = (b"a", b"\xff", b" ", b"n" * 255, b"lost+found", b"-", b"x\ny", "ü".encode())
_SIZES: Final = (0, 1, 59, 60, 61, 1023, 1024, 4096, 4097, 70_000, 300_000)
_TIMES: Final = (0, 1, (1 << 31) - 1, 1 << 31, 1 << 32, 9_000_000_000)
SANITIZED: Final = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


def compiled(folder: Path, *options: str) -> Path:
    """Compile the program, and return its path."""
    subprocess.run([*compilation(folder / WRITER), *options], check=True)
    return folder / WRITER


def make(random: Random, folder: Path, count: int) -> None:
    """Fill a directory with files of all kinds. Those that need root are left out without it."""
    folder.mkdir()
    folders = [folder]
    files: list[Path] = []
    for number in range(count):
        parent = random.choice(folders)
        name = random.choice((*_NAMES, str(number).encode(), b"%d" % number * 40))[:255]
        path = parent / os.fsdecode(name)
        if os.path.lexists(path):
            continue
        if path == folder / "lost+found":  # a filesystem has its own
            path.mkdir()
        else:
            _one(random, path, folders, files)
        if not path.is_symlink():
            path.chmod(random.choice((0o644, 0o755, 0o4755, 0o1777, 0o700)))
        _attributes(random, path)
    for path in [*folder.rglob("*"), folder]:
        seconds = random.choice(_TIMES) * 10**9 + random.choice((0, 1, 999_999_999))
        os.utime(path, ns=(0, seconds), follow_symlinks=False)


def _one(random: Random, path: Path, folders: list[Path], files: list[Path]) -> None:
    match random.randrange(8):
        case 0 | 1:
            path.mkdir()
            folders.append(path)
        case 2:
            path.symlink_to("t" * random.choice((1, 59, 60, 61, 1000)))
        case 3 if files:
            path.hardlink_to(random.choice(files))
        case 4:
            os.mkfifo(path)
        case 5 if os.geteuid() == 0:
            kind = random.choice((stat.S_IFCHR, stat.S_IFBLK))
            os.mknod(path, kind | 0o600, os.makedev(*random.choice(((1, 3), (259, 300)))))
        case _:
            _file(random, path)
            files.append(path)


def _file(random: Random, path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(random.choice((1, 1, 3))):
            file.write(random.randbytes(random.choice(_SIZES)))
            file.seek(random.choice((0, 0, 1, 5000, 200_000)), os.SEEK_CUR)
        file.truncate()


def _attributes(random: Random, path: Path) -> None:
    if os.geteuid() == 0 and not path.is_symlink() and path.is_file():
        for number in range(random.choice((0, 0, 1, 2))):
            value = random.randbytes(random.choice((0, 1, 30, 400)))
            os.setxattr(path, f"trusted.{number}", value)
        os.chown(path, random.choice((0, 1000, 100_000)), random.choice((0, 70_000)))


def written(writer: Path, random: Random, tree: Path, image: Path) -> Path:
    """Write a tree into a new filesystem, and have it checked.

    Raises:
        AssertionError: the program failed, or e2fsck found something.
    """
    with image.open("wb") as file:
        file.truncate(_SIZE)
    form = random.choice(_FORMS)
    _run(["mke2fs", "-q", "-F", "-t", "ext4", *form, str(image), f"{_SIZE >> 10}k"])
    _run([str(writer), str(image), "0", str(tree), str(EPOCH)])
    _run(["e2fsck", "-f", "-n", str(image)])
    return image


def _run(words: Sequence[str]) -> str:
    done = subprocess.run(words, env=_PATH, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def compare(tree: Path, image: Path) -> None:
    """Compare a tree with what libext2fs, which debugfs and e2fsck use as well, finds in an image.

    Raises:
        AssertionError: there is a difference.
    """
    with Ext4(image) as filesystem:
        todo = [(tree, ROOT_INODE)]
        while todo:
            folder, number = todo.pop()
            entries = filesystem.entries(number)
            names = {os.fsencode(path.name) for path in folder.iterdir()}
            assert {*entries} - {b"lost+found"} == names - {b"lost+found"}, folder
            for name in names:
                path, inode = folder / os.fsdecode(name), filesystem.inode(entries[name])
                status = path.lstat()
                assert (inode.mode, inode.owner) == (status.st_mode, status.st_uid), path
                if inode.is_directory:
                    todo.append((path, entries[name]))
                elif stat.S_ISLNK(inode.mode):
                    assert filesystem.link(inode) == os.readlink(os.fsencode(path)), path  # noqa: PTH115
                elif stat.S_ISREG(inode.mode):
                    assert b"".join(filesystem.content(inode)) == path.read_bytes(), path
                    assert inode.links == status.st_nlink, path
                    wanted = {key: os.getxattr(path, key) for key in os.listxattr(path)}
                    assert filesystem.attributes(inode) == wanted, path
                else:
                    device = (os.major(status.st_rdev), os.minor(status.st_rdev))
                    assert inode.device == device or stat.S_ISFIFO(inode.mode), path


def compare_mounted(tree: Path, image: Path, place: Path) -> None:
    """Compare a tree with what the kernel finds in an image. Needs root.

    Raises:
        AssertionError: there is a difference.
    """
    with _mounted(image, place):
        for path in [tree, *tree.rglob("*")]:
            there = place / path.relative_to(tree)
            left, right = path.lstat(), there.lstat()
            assert (left.st_mode, left.st_uid, left.st_gid, left.st_rdev) == (
                *(right.st_mode, right.st_uid, right.st_gid, right.st_rdev),
            ), path
            if stat.S_ISREG(left.st_mode):
                assert path.read_bytes() == there.read_bytes(), path
            elif stat.S_ISLNK(left.st_mode):
                assert path.readlink() == there.readlink(), path


@contextmanager
def _mounted(image: Path, place: Path) -> Iterator[None]:
    _leave_mounts()
    place.mkdir(exist_ok=True)
    # Without the journal being replayed, nothing is written.
    _run(["mount", "-o", "loop,ro,noload,nodev,nosuid,noexec", str(image), str(place)])
    try:
        yield
    finally:
        _run(["umount", str(place)])


@cache
def _leave_mounts() -> None:
    """Let mounts of this process be its own, so that none outlives it."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _run(["mount", "--make-rprivate", "/"])


def run(writer: Path, data: bytes, scratch: Path, *, count: int, mounts: bool = False) -> None:
    """Make a tree of an input, write and compare it."""
    random = Random(data)  # noqa: S311 - no secret
    tree = scratch / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    make(random, tree, count)
    image = written(writer, random, tree, scratch / "image")
    compare(tree, image)
    if mounts:
        compare_mounted(tree, image, scratch / "mounted")


def _sanitized(data: bytes, scratch: Path) -> None:
    writer = scratch / "sanitized"
    if not (writer / WRITER).exists():
        writer.mkdir(exist_ok=True)
        compiled(writer, *SANITIZED)
    run(writer / WRITER, data, scratch, count=_count(data), mounts=os.geteuid() == 0)


def _count(data: bytes) -> int:
    """Return how many files the tree of an input has."""
    return 20 + sum(data) % 200


TARGET: Final = Target(
    name="ext4-writer",
    seeds=lambda: [b"0"],
    mutation=of_bytes,
    run=_sanitized,
    limited=False,
)
