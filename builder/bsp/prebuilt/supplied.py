# SPDX-License-Identifier: MIT
"""Boot files that the user supplies: a directory, or a zip file of one."""

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

_MOST_UNPACKED_BYTES = 4 << 30
"""Maximum unpacked size of a zip file."""

_MOST_FILES = 500_000
_MOST_BYTES = 16 << 30
"""Maximum number of files of a directory, and of bytes in them."""

_MOST_PROBLEMS = 20


def list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a directory, each with its relative name, sorted.

    Links to files are followed; links to directories only at the top level. Deeper links to
    directories are skipped, such as `build` and `source` of `make modules_install`, which point to
    the sources' former place.

    Raises:
        UserError: the directory has too many or too large files.
    """
    found = sorted((path.relative_to(folder).as_posix(), path) for path in _files(folder))
    yield from found


def _files(folder: Path) -> Iterator[Path]:
    """Yield the plain files of a directory; raise if there are too many or too large ones."""
    count = size = 0
    for path in _paths(folder):
        if path.is_file():
            count += 1
            size += path.stat().st_size
            if count > _MOST_FILES or size > _MOST_BYTES:
                raise UserError(
                    f"{folder} has more than {_MOST_FILES} files or {_MOST_BYTES >> 30} GiB: does "
                    "it contain links to other directories?"
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
    """Return the SHA-256 of boot files; for a directory, the SHA-256 of the output of `sha256sum`.

    Args:
        path: a zip file or a directory.
        read: function that returns the SHA-256 of a file.

    Raises:
        UserError: the files do not exist or cannot be read.
    """
    try:
        if not path.is_dir():
            return read(path)
        lines = (f"{read(file)}  {name}\n" for name, file in list_files(top(path)))
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror}") from error


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip file into a new directory.

    Raises:
        UserError: it is not a zip file, is damaged, or has unsafe members.
    """
    try:
        with opened_zip(archive) as opened:
            members = [each for each in opened.infolist() if not each.filename.endswith("/")]
            problems = [*_problems(members)]
            if problems:
                raise UserError(
                    f"{archive.name} cannot be unpacked", details=problems[:_MOST_PROBLEMS]
                )
            target.mkdir(parents=True, exist_ok=True)
            tree = ForeignTree(target)
            for each in members:
                path = member(each.filename)
                # zipfile reads no more of a member than the size that `_problems` checked.
                with opened.open(each) as source, tree.created(path, mode=0o644) as file:
                    shutil.copyfileobj(source, file)
    except ZIP_ERRORS as error:
        raise UserError(
            f"{archive.name} is not a readable zip file: {error}",
            hint="supply boot files as a directory, or as a zip file of one",
        ) from error


def top(folder: Path) -> Path:
    """Return the directory of the files: `folder`, or its only subdirectory."""
    inside = [path for path in folder.iterdir() if not is_desktop_metadata(path.name)]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def is_desktop_metadata(name: str) -> bool:
    """Return whether a name is that of a file that desktops add to directories and zip files."""
    return name.startswith(".") or name == "__MACOSX"


def _problems(members: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """Yield the reasons to reject the members of a zip file."""
    size = sum(each.file_size for each in members)
    if size > _MOST_UNPACKED_BYTES:
        yield f"it unpacks to {size >> 20} MiB, more than {_MOST_UNPACKED_BYTES >> 20} MiB"
    directories: set[PurePosixPath] = set()
    files: set[PurePosixPath] = set()
    for each in members:
        if problem := _problem(each):
            yield problem
            continue
        path = member(each.filename)
        if path in files:
            yield f"{path}: occurs twice"
        files.add(path)
        directories.update(path.parents)
    yield from (f"{path}: is both a file and a directory" for path in sorted(files & directories))


def _problem(info: zipfile.ZipInfo) -> str | None:
    """Return the reason to reject a member of a zip file; None if there is none."""
    name = info.filename
    try:
        path = member(name)
    except UserError as error:
        return error.message
    if "\\" in name or ":" in path.parts[0]:
        return f"{name}: its name leads out of the target directory"
    if stat.S_ISLNK(info.external_attr >> 16):
        return f"{name}: is a symbolic link; pack the files that links point to"
    if wrong := zip_method(info):
        return f"{name}: {wrong}"
    return None


def _fail(error: OSError) -> None:
    raise error
