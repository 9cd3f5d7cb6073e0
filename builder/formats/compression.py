# SPDX-License-Identifier: MIT
"""Card images as they are handed around: plain, or packed as one file by xz, zstd, gzip or zip."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from builder.errors import HostError, UserError
from builder.untrusted.reading import opened_zip, plain_file, zip_method

CHUNK = 1 << 22
_BLOCK = 1 << 16
_MOST_CHECKSUM = 1 << 16
MOST = 2 << 40
"""Bytes of an image: the largest cards (SDXC) have 2 TiB."""

SUFFIXES = (".xz", ".zst", ".gz", ".bz2", ".zip")
"""Endings of packed images."""


def plain_name(path: Path) -> str:
    """Return the name that an image has when it is unpacked."""
    return path.stem if path.suffix in SUFFIXES else path.name


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open an image for reading, from its beginning on, as if it were not packed.

    Raises:
        UserError: it is not what its name says, it is damaged (also while it is read), or a zip
            file holds no image, or several.
    """
    try:
        with _opened(path) as stream:
            yield stream
    except (lzma.LZMAError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's, not one of gzip or bzip2
        raise UserError(f"{path} is damaged: {error}", hint="fetch it again") from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    match path.suffix:
        case ".xz":
            with lzma.open(path) as stream:
                yield io.BufferedReader(stream, CHUNK)
        case ".gz":
            with gzip.open(path) as stream:
                yield io.BufferedReader(stream, CHUNK)
        case ".bz2":
            with bz2.open(path) as stream:
                yield stream
        case ".zst":
            with _zstd(path) as stream:
                yield stream
        case ".zip":
            with opened_zip(path) as archive, archive.open(_member(path, archive)) as stream:
                yield stream
        case _:
            with path.open("rb") as stream:
                yield stream


@contextmanager
def _zstd(path: Path) -> Iterator[IO[bytes]]:
    try:
        unpacking = subprocess.Popen(
            ["zstd", "-dc", "--", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise HostError("zstd is not on this machine", hint="apt-get install zstd") from error
    assert unpacking.stdout
    assert unpacking.stderr
    with unpacking:
        try:
            yield unpacking.stdout
            whole = not unpacking.stdout.read(1)
        finally:
            unpacking.stdout.close()
            said = unpacking.stderr.read().decode(errors="replace").strip()
        if whole and unpacking.wait() != 0:
            raise EOFError(said)


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the one image in a zip file."""
    found = [
        info
        for info in archive.infolist()
        if info.filename.endswith(".img") and not info.filename.startswith("__MACOSX/")
    ]
    if len(found) != 1:
        raise UserError(
            f"{path} holds {len(found)} files *.img, not one", hint="unpack it, and name the image"
        )
    if wrong := zip_method(found[0]):
        raise UserError(f"{path}: its image {wrong}")
    return found[0]


def unpack(path: Path, target: Path) -> None:
    """Write an image to a file as it is when it is not packed; what is zero becomes a hole.

    Raises:
        UserError: as `opened`.
    """
    zeros = bytes(_BLOCK)
    with opened(path) as stream, target.open("wb") as file:
        while chunk := stream.read(_BLOCK):
            if file.tell() > MOST:
                raise UserError(f"{path} unpacks to more than {MOST >> 40} TiB, the largest card")
            if chunk == zeros:
                file.seek(len(chunk), io.SEEK_CUR)
            else:
                file.write(chunk)
        file.truncate(file.tell())


def checksum_beside(path: Path) -> str | None:
    """Return the SHA-256 that the file NAME.sha256 beside a file says it has; None: there is none.

    Raises:
        UserError: it says something else.
    """
    beside = Path(f"{path}.sha256")
    if not beside.exists():
        return None
    wanted = plain_file(beside, most=_MOST_CHECKSUM).decode(errors="replace").split()
    if not wanted or not re.fullmatch("[0-9a-fA-F]{64}", wanted[0]):
        raise UserError(f"{beside} does not begin with a SHA-256")
    return wanted[0].lower()


def check_sum(path: Path, found: str) -> None:
    """Compare a file's SHA-256 with that beside it, if there is one.

    Raises:
        UserError: it is another one.
    """
    wanted = checksum_beside(path)
    if wanted not in (None, found):
        raise UserError(
            f"{path} is damaged: its checksum is not that of {path.name}.sha256",
            hint="fetch or build it again",
            details=[f"wanted {wanted}", f"found  {found}"],
        )
