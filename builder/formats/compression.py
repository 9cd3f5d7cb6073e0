# SPDX-License-Identifier: MIT
"""Card images, uncompressed or compressed as a single file with xz, zstd, gzip, bzip2 or zip."""

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
_MAX_CHECKSUM = 1 << 16
MOST = 2 << 40
"""Maximum size of an image in bytes: the largest cards (SDXC) have 2 TiB."""

SUFFIXES = (".xz", ".zst", ".gz", ".bz2", ".zip")
"""Suffixes of compressed images."""


def plain_name(path: Path) -> str:
    """Return the name of an image after decompression."""
    return path.stem if path.suffix in SUFFIXES else path.name


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open an image for sequential reading, decompressed.

    Raises:
        UserError: its format is not that of its suffix, it is damaged (also raised while reading),
            or a zip file does not contain exactly one image.
    """
    try:
        with _opened(path) as stream:
            yield stream
    except (lzma.LZMAError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # from the system, not from gzip or bzip2
        raise UserError(f"{path} is damaged: {error}", hint="download it again") from error


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
        raise HostError("zstd is not installed", hint="apt-get install zstd") from error
    assert unpacking.stdout
    assert unpacking.stderr
    with unpacking:
        try:
            yield unpacking.stdout
            whole = not unpacking.stdout.read(1)
        finally:
            unpacking.stdout.close()
            output = unpacking.stderr.read().decode(errors="replace").strip()
        if whole and unpacking.wait() != 0:
            raise EOFError(output)


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the single image in a zip file."""
    found = [
        info
        for info in archive.infolist()
        if info.filename.endswith(".img") and not info.filename.startswith("__MACOSX/")
    ]
    if len(found) != 1:
        raise UserError(
            f"{path} contains {len(found)} files *.img, not one",
            hint="unpack it, and name the image",
        )
    if wrong := zip_method(found[0]):
        raise UserError(f"{path}: its image {wrong}")
    return found[0]


def unpack(path: Path, target: Path) -> None:
    """Write a decompressed image to a file; blocks of zeros become holes.

    Raises:
        UserError: as for `opened`.
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
    """Return the SHA-256 in the file NAME.sha256 beside a file; None if there is no such file.

    Raises:
        UserError: it does not contain a SHA-256.
    """
    beside = Path(f"{path}.sha256")
    if not beside.exists():
        return None
    wanted = plain_file(beside, most=_MAX_CHECKSUM).decode(errors="replace").split()
    if not wanted or not re.fullmatch("[0-9a-fA-F]{64}", wanted[0]):
        raise UserError(f"{beside} does not begin with a SHA-256")
    return wanted[0].lower()


def check_sum(path: Path, found: str) -> None:
    """Compare a file's SHA-256 with the one in the file beside it, if there is one.

    Raises:
        UserError: they differ.
    """
    wanted = checksum_beside(path)
    if wanted not in (None, found):
        raise UserError(
            f"{path} is damaged: its checksum is not that of {path.name}.sha256",
            hint="download or build it again",
            details=[f"expected {wanted}", f"found    {found}"],
        )
