# SPDX-License-Identifier: MIT
"""Traces that a build may leave: processes, mounts, half entries, images without their checksums."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tests.fixtures.leftovers import naming

_PR_SET_CHILD_SUBREAPER = 36
_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)


def adopt_orphans() -> None:
    """Become the parent of all orphans among this process's descendants (prctl(2)).

    Whatever a killed build leaves running is found as a descendant, whatever its environment says.

    Raises:
        OSError: the kernel refuses.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(root: int) -> list[int]:
    """Return the processes that descend from one, without those that have ended."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(") ")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(folder.name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def leftovers(place: Path, seconds: float) -> dict[int, str]:
    """Wait until nothing runs that a build has started; return what still does after a time, and kill it.

    That is what descends from this process, and what names the place in its command line or its
    environment or has its root directory in it. Needs `adopt_orphans`; all builds must have ended.
    """
    end = time.monotonic() + seconds
    while True:
        _reap()
        found = {number: _command(number) for number in descendants(os.getpid())}
        found |= naming(str(place)) | _rooted(place)
        if not found:
            return found
        if time.monotonic() >= end:
            _kill(descendants(os.getpid()))
            return found
        time.sleep(0.05)


def _kill(numbers: Sequence[int]) -> None:
    """Kill what was left behind by a build of ours, so that the next one is judged by itself."""
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _command(number: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{number}/cmdline").read_bytes()
        return os.fsdecode(words.replace(b"\0", b" ").strip())
    return ""


def _rooted(place: Path) -> dict[int, str]:
    found = {}
    for link in Path("/proc").glob("[0-9]*/root"):
        with suppress(OSError):
            if link.readlink().is_relative_to(place):
                number = int(link.parent.name)
                found[number] = _command(number)
    return found


def mounts(places: Sequence[Path]) -> list[str]:
    """Return the mount points below some directories, in whichever process's namespace."""
    tables: dict[str, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            space = str((process / "ns/mnt").readlink())
            if space not in tables:
                tables[space] = (process / "mountinfo").read_text()
    points = {
        line.split()[4].encode().decode("unicode_escape")
        for table in tables.values()
        for line in table.splitlines()
    }
    return sorted(
        point
        for point in points
        if any(Path(point) != place and Path(point).is_relative_to(place) for place in places)
    )


class Entries:
    """The content of a store's entries: equal keys must have equal files, whenever they were made."""

    def __init__(self, store: Path) -> None:
        self._folder = store / "entries"
        self._contents: dict[str, str] = {}
        self._seen: dict[str, tuple[int, int]] = {}

    def problems(self) -> list[str]:
        """Look at the entries that are new since the last call; return what is wrong with them."""
        found: list[str] = []
        for path in sorted(self._folder.iterdir()):
            state = path.stat()
            # An entry is made aside and renamed: another one is another inode.
            seen = (state.st_ino, (path / "files").stat().st_ino if _whole(path) else 0)
            if self._seen.get(path.name) != seen:
                found += self._judge(path)
                self._seen[path.name] = seen
        return found

    def damaged(self) -> list[str]:
        """Return the keys of entries whose files are not those that they were first seen with."""
        return [
            key
            for key, content in self._contents.items()
            if (self._folder / key).exists() and content != content_of(self._folder / key / "files")
        ]

    def _judge(self, path: Path) -> Iterator[str]:
        if not _whole(path):
            yield f"half an entry: {path.name} has {sorted(each.name for each in path.iterdir())}"
            return
        step = json.loads((path / "entry.json").read_text())["step"]
        content = content_of(path / "files")
        if self._contents.setdefault(path.name, content) != content:
            yield f"another content under the same key: {step}, {path.name}"


def _whole(path: Path) -> bool:
    try:
        said = json.loads((path / "entry.json").read_text())
    except (OSError, ValueError):
        return False
    return {"step", "components"} <= said.keys() and (path / "files").is_dir()


def content_of(folder: Path) -> str:
    """Return a hash over the names, modes and contents of a directory, without those of block maps."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        digest.update(f"{path.relative_to(folder)}\0{state.st_mode:o}\0".encode())
        if stat.S_ISLNK(state.st_mode):
            digest.update(os.fsencode(path.readlink()))
        # Which blocks of an image are mapped depends on the file system that it is made on.
        elif stat.S_ISREG(state.st_mode) and path.suffix != ".bmap":
            digest.update(f"{state.st_size}\0".encode())
            _add_data(path, digest)
    return digest.hexdigest()


def _add_data(path: Path, digest: hashlib._Hash) -> None:
    """Add what is not zero: where the holes of a file are is nobody's business."""
    with path.open("rb", buffering=0) as file:
        position = 0
        while True:
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA) // _CHUNK * _CHUNK
            except OSError:  # there is no more
                return
            data = os.pread(file.fileno(), _CHUNK, position)
            if data.strip(b"\0"):
                digest.update(position.to_bytes(8, "big"))
                digest.update(data)
            position += _CHUNK


class Images:
    """The image files in an output directory, which are read once for each of their states."""

    def __init__(self) -> None:
        self._sums: dict[Path, tuple[tuple[int, int, int], str]] = {}

    def sum(self, image: Path) -> str | None:
        """Return an image's SHA-256; None if it is not there."""
        try:
            status = image.stat()
        except FileNotFoundError:
            return None
        state = (status.st_ino, status.st_mtime_ns, status.st_size)
        if self._sums.get(image, (None,))[0] != state:
            with image.open("rb") as file:
                digest = hashlib.sha256()
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
            self._sums[image] = (state, digest.hexdigest())
        return self._sums[image][1]

    def problems(self, output: Path) -> list[str]:
        """Return what is wrong with the images below a directory: each needs a checksum that fits."""
        found = []
        for image in sorted(output.glob("*/*.img")):
            note = image.with_name(f"{image.name}.sha256")
            if not note.exists():
                found.append(f"output: {image.name} has no checksum file")
            elif (note.read_text().split() or [""])[0] != self.sum(image):
                found.append(f"output: {note.name} is of another image")
        return found


def rests(store: Path, output: Path) -> list[str]:
    """Return what a finished build must not leave, neither of its own nor of killed ones before."""
    working = [path for name in ("drafts", "scratch") for path in (store / name).glob("*")]
    temporary = [
        *store.glob("tmp????????"),
        *store.glob("last/*/tmp????????"),
        *store.glob("archives/tmp????????"),
        *store.glob("digests/tmp????????"),
        *store.glob("archives/packages/*/partial/*"),
    ]
    published = [*output.glob("*/.*.part"), *output.glob("*/.*.old"), *output.glob("*/tmp????????")]
    return [f"left after a finished build: {path}" for path in (*working, *temporary, *published)]
