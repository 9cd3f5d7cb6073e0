# SPDX-License-Identifier: MIT
"""What somebody gives as boot files: a directory, or a zip file of one."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from builder.errors import UserError
from builder.steps.sources import sha256
from builder.store.digests import Read

_MOST = 4 << 30
"""Bytes that a zip file may unpack to."""


def listed(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a directory by their names in it, sorted.

    A link to a file counts as the file, one to a directory as the directory if it is on top. Deeper
    ones are passed over, like those that `make modules_install` leaves: `build` and `source` point
    to where the sources were.
    """
    found: list[Path] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            for where, _, names in os.walk(entry, onerror=_fail):
                found += (Path(where, name) for name in names)
        else:
            found.append(entry)
    named = ((path.relative_to(folder).as_posix(), path) for path in found if path.is_file())
    yield from sorted(named)


def digest(path: Path, read: Read = sha256) -> str:
    """Return the SHA-256 of boot files; of a directory, that of what `sha256sum` prints of its files.

    `read` returns the SHA-256 of a file.

    Raises:
        UserError: they are not there, or cannot be read.
    """
    try:
        if not path.is_dir():
            return read(path)
        lines = (f"{read(file)}  {name}\n" for name, file in listed(top(path)))
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror}") from error


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip file into a directory that is not there yet.

    Raises:
        UserError: it is none, is damaged, or has members that belong into no directory.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [each for each in opened.infolist() if not each.is_dir()]
            problems = [problem for each in members if (problem := _problem(each))]
            size = sum(each.file_size for each in members)
            if size > _MOST:
                problems.append(f"it unpacks to {size >> 20} MiB, more than {_MOST >> 20}")
            if problems:
                raise UserError(f"{archive.name} is not unpacked", details=problems)
            for member in members:
                path = target / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                # Python reads no more of a member than the size that was summed up above.
                with opened.open(member) as source, path.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
        *(NotImplementedError, ValueError, OSError),
    ) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # not of the zip file
        raise UserError(
            f"{archive.name} is not a zip file that can be read: {error}",
            hint="boot files are given as a directory, or as a zip file of one",
        ) from error


def top(folder: Path) -> Path:
    """Return where the files lie: in a directory, or in the only one that it holds."""
    inside = [path for path in folder.iterdir() if not is_litter(path.name)]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def is_litter(name: str) -> bool:
    """Return whether a name is of what desktops leave in directories and zip files."""
    return name.startswith(".") or name == "__MACOSX"


def _problem(member: zipfile.ZipInfo) -> str | None:
    """Say why a member of a zip file is refused; None if it is not."""
    name = member.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
        return f"{name}: its name leads out of the directory that it is unpacked to"
    if stat.S_ISLNK(member.external_attr >> 16):
        return f"{name}: is a symbolic link; pack the files that links point to"
    if member.flag_bits & 1:
        return f"{name}: is encrypted"
    return None


def _fail(error: OSError) -> None:
    raise error
