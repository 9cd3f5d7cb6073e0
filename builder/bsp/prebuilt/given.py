# SPDX-License-Identifier: MIT
"""Boot files as their maker gives them: a directory, or a zip file of one."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from builder.errors import UserError
from builder.store.checksum import sha256
from builder.store.digests import Read
from builder.untrusted.reading import ZIP_ERRORS, check_place, opened_zip, zip_method
from builder.untrusted.tree import ForeignTree, member

_MOST = 4 << 30
"""Bytes that a zip file may unpack to."""

_MOST_FILES = 500_000
_MOST_GIVEN = 16 << 30
"""Files of a directory, and bytes in them."""

_MOST_PROBLEMS = 20


def listed(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a directory by their names in it, sorted.

    A link to a file counts as the file, one to a directory as the directory if it is on top. Deeper
    ones are passed over, like those that `make modules_install` leaves: `build` and `source` point
    to where the sources were.

    Raises:
        UserError: there is more than is read.
    """
    found = sorted((path.relative_to(folder).as_posix(), path) for path in _files(folder))
    yield from found


def _files(folder: Path) -> Iterator[Path]:
    """Yield the plain files of a directory, as far as there are not too many or too large ones."""
    count = size = 0
    for path in _paths(folder):
        if path.is_file():
            count += 1
            size += path.stat().st_size
            if count > _MOST_FILES or size > _MOST_GIVEN:
                raise UserError(
                    f"{folder} has more than {_MOST_FILES} files, or {_MOST_GIVEN >> 30} GiB in "
                    "them: are links in it that lead elsewhere?"
                )
            yield path


def _paths(folder: Path) -> Iterator[Path]:
    check_place(folder)
    for entry in folder.iterdir():
        check_place(entry)
        if entry.is_dir():
            for where, _, names in os.walk(entry, onerror=_fail):
                yield from (Path(where, name) for name in names)
        else:
            yield entry


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
        with opened_zip(archive) as opened:
            members = [each for each in opened.infolist() if not each.filename.endswith("/")]
            problems = [*_problems(members)]
            if problems:
                raise UserError(
                    f"{archive.name} is not unpacked", details=problems[:_MOST_PROBLEMS]
                )
            target.mkdir(parents=True, exist_ok=True)
            tree = ForeignTree(target)
            for each in members:
                path = member(each.filename)
                # Python reads no more of a member than the size that was summed up above.
                with opened.open(each) as source, tree.created(path, mode=0o644) as file:
                    shutil.copyfileobj(source, file)
    except ZIP_ERRORS as error:
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


def _problems(members: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """Yield why the members of a zip file are refused."""
    size = sum(each.file_size for each in members)
    if size > _MOST:
        yield f"it unpacks to {size >> 20} MiB, more than {_MOST >> 20}"
    directories: set[PurePosixPath] = set()
    files: set[PurePosixPath] = set()
    for each in members:
        if problem := _problem(each):
            yield problem
            continue
        path = member(each.filename)
        if path in files:
            yield f"{path}: is in it twice"
        files.add(path)
        directories.update(path.parents)
    yield from (f"{path}: is both a file and a directory" for path in sorted(files & directories))


def _problem(info: zipfile.ZipInfo) -> str | None:
    """Say why a member of a zip file is refused; None if it is not."""
    name = info.filename
    try:
        path = member(name)
    except UserError as error:
        return error.message
    if "\\" in name or ":" in path.parts[0]:
        return f"{name}: its name leads out of the directory that it is unpacked to"
    if stat.S_ISLNK(info.external_attr >> 16):
        return f"{name}: is a symbolic link; pack the files that links point to"
    if wrong := zip_method(info):
        return f"{name}: {wrong}"
    return None


def _fail(error: OSError) -> None:
    raise error
