# SPDX-License-Identifier: MIT
"""Bounded reading of untrusted files: plain files, zip and tar archives, XML, JSON.

An untrusted file may be endless, a few bytes may unpack to gigabytes, and a short text may be
nested so deeply that parsing it crashes the program. Each function here limits memory and time.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import os
import stat
import subprocess
import tarfile
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeAlias, cast

from builder.errors import UserError
from builder.untrusted.tree import member

MIB: Final = 1 << 20

_MAX_DIRECTORY: Final = 16 * MIB
"""Maximum size of a zip file's directory in bytes: some 150,000 members with usual names."""

_MAX_MEMBERS: Final = 500_000
_MAX_BYTES: Final = 16 << 30
"""Maximum number of members of a tar archive, and their total size in bytes."""

_MAX_HEADERS: Final = 4 * MIB
"""Maximum size in bytes of a tar member's headers: extended headers have no limit of their own."""

_MAX_ELEMENTS: Final = 1_000_000
_MAX_DEPTH: Final = 64
"""Maximum number and depth of the elements of an XML file. A .hwh of 20 MB has some 400,000."""

_ZIP_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
)
"""Exceptions that Python raises for damaged, encrypted or unsupported zip files."""

TAR_ERRORS: Final = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)
"""Exceptions that Python raises for damaged tar archives, and for other files."""

Opener: TypeAlias = Callable[[], IO[bytes]]


class UnreadableError(UserError):
    """A file that cannot be read or exceeds a limit; `reason` omits the file's name."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


def plain_file(path: Path, *, most: int = 64 * MIB) -> bytes:
    """Return the content of a plain file; symbolic links are followed.

    Raises:
        UnreadableError: it cannot be read, is a device, a pipe or a directory, or has more than
            `most` bytes.
    """
    try:
        with os.fdopen(_opened(path), "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UnreadableError(path, f"cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise UnreadableError(path, f"is larger than the limit of {_shown(most)}")
    return content


def plain_head(path: Path, size: int) -> bytes:
    """Return the first bytes of a plain file.

    Raises:
        UnreadableError: it is a device, a pipe or a directory.
        OSError: it cannot be read.
    """
    with os.fdopen(_opened(path), "rb") as file:
        return file.read(size)


def plain_text(path: Path, *, most: int = 4 * MIB) -> str:
    """Return the content of a UTF-8 text file.

    Raises:
        UnreadableError: as for `plain_file`, or it is not UTF-8.
    """
    try:
        return plain_file(path, most=most).decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(path, f"is not UTF-8 text: {error.reason}") from error


def check_place(path: Path) -> None:
    """Check that a path does not lead to the kernel's files, which may be endless.

    Raises:
        UnreadableError: it does.
    """
    place = Path(os.path.realpath(path))
    if place.is_relative_to("/proc") or place.is_relative_to("/sys"):
        raise UnreadableError(path, f"leads to {place}")


def _opened(path: Path) -> int:
    """Open a plain file, without side effects on devices and without waiting for pipes."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = "is a directory" if stat.S_ISDIR(mode) else "is not a plain file"
        raise UnreadableError(path, what)
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise UnreadableError(path, "is not a plain file")
    return file


def _shown(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size // 1024} KiB"


class _ZipSource(io.FileIO):
    """A zip file opened for reading; `most` limits the size of a single read."""

    most: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = -1 if size is None else size
        if self.most is None:
            return cast("bytes", super().read(wanted))
        data = cast(
            "bytes", super().read(self.most + 1 if wanted < 0 else min(wanted, self.most + 1))
        )
        if len(data) > self.most:
            raise zipfile.BadZipFile("its directory of members is too long")
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise zipfile.BadZipFile("it refers to an offset before its start") from error


@contextmanager
def opened_zip(path: Path, *, most_directory: int = _MAX_DIRECTORY) -> Iterator[zipfile.ZipFile]:
    """Open a zip file whose directory of members has at most `most_directory` bytes.

    Raises:
        UnreadableError: it is not a plain file.
        ZIP_ERRORS: it is missing or damaged, or its directory is too long.
    """
    with _ZipSource(_opened(path)) as source:
        # Python reads the whole directory at once.
        source.most = most_directory
        try:
            archive = zipfile.ZipFile(source)
        except UnicodeDecodeError as error:
            raise zipfile.BadZipFile("the name of a member is not UTF-8") from error
        with archive:
            source.most = None
            yield archive


def zip_method(info: zipfile.ZipInfo) -> str | None:
    """Return the problem with a member's compression method; None if it is supported.

    Python decompresses LZMA and bzip2 in chunks of any size: a few kilobytes may take gigabytes.
    """
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in _ZIP_METHODS:
        return "is not compressed with Deflate, the default of zip: pack it again"
    return None


class _TarSource(io.RawIOBase):
    """An uncompressed tar stream, with a limit that the reader moves forward."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._position = 0
        self._limit = _MAX_HEADERS

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._stream.read(-1 if size is None else size)
        self._position += len(data)
        if self._position > self._limit:
            raise tarfile.ReadError("the headers of a member are too long")
        return data

    def expect(self, size: int) -> None:
        """Allow `size` bytes of content, and the headers after it."""
        self._limit = self._position + size + _MAX_HEADERS


def tar_files(archive: Path, *, from_root: bool = False) -> Iterator[tuple[str, Opener]]:
    """Yield the plain files of a tar archive, plain or compressed with gzip, bzip2, xz or zstd.

    Each item is the file's relative name, which cannot leave the target directory, and a function
    that opens the file and must be called before the next item. Other members, such as links, are
    skipped.

    Args:
        archive: the file.
        from_root: whether to strip `/` and `./` from the beginning of names.

    Raises:
        UserError: it is damaged or not a tar archive, a name leaves the target directory, or a
            limit is exceeded.
    """
    try:
        with _unpacked(archive) as stream:
            yield from tar_members(stream, archive.name, from_root=from_root)
    except TAR_ERRORS as error:
        raise _unreadable(archive.name, error) from error


def tar_members(
    stream: IO[bytes], name: str, *, from_root: bool = False
) -> Iterator[tuple[str, Opener]]:
    """Yield the plain files of an uncompressed tar stream like `tar_files`; `name` is for messages.

    Raises:
        UserError: as for `tar_files`.
    """
    try:
        source = _TarSource(stream)
        with tarfile.open(fileobj=source, mode="r|") as tar:
            yield from _members(name, tar, source, from_root=from_root)
    except TAR_ERRORS as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> UserError:
    return UserError(f"{name} cannot be read: {error}")


def _members(
    archive: str, tar: tarfile.TarFile, source: _TarSource, *, from_root: bool
) -> Iterator[tuple[str, Opener]]:
    size = 0
    for count, each in enumerate(tar, 1):
        size += each.size
        if each.size < 0:
            raise tarfile.ReadError("a member has a negative size")
        if count > _MAX_MEMBERS or size > _MAX_BYTES:
            raise UserError(
                f"{archive} has more than {_MAX_MEMBERS} members, or more than "
                f"{_MAX_BYTES >> 30} GiB in them"
            )
        tar.members.clear()  # type: ignore[attr-defined] # tarfile would store them all
        source.expect(each.size)
        if each.isreg():
            name = each.name.removeprefix("./").lstrip("/") if from_root else each.name
            yield str(member(name)), _opener(archive, tar, each)


def _opener(archive: str, tar: tarfile.TarFile, info: tarfile.TarInfo) -> Opener:
    def opened() -> IO[bytes]:
        file = tar.extractfile(info)
        assert file, "it is a plain file"
        return io.BufferedReader(_Content(archive, file))

    return opened


class _Content(io.RawIOBase):
    """Content of an archive's member; reports damage as UserError."""

    def __init__(self, archive: str, file: IO[bytes]) -> None:
        super().__init__()
        self._archive = archive
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; return the number of bytes.

        Raises:
        UserError: the archive is damaged.
        """
        try:
            data = self._file.read(len(buffer))
        except TAR_ERRORS as error:
            raise _unreadable(self._archive, error) from error
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _unpacked(archive: Path) -> Iterator[IO[bytes]]:
    """Open an archive decompressed; its first bytes tell the compression."""
    with os.fdopen(_opened(archive), "rb") as file:
        start = os.pread(file.fileno(), 6, 0)
        if start.startswith(b"\x1f\x8b"):
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=file))
        elif start.startswith(b"BZh"):
            yield bz2.BZ2File(file)
        elif start.startswith(b"\xfd7zXZ\0"):
            yield lzma.LZMAFile(file)  # noqa: SIM115 - as the others: `file` is what is open
        elif start.startswith(b"\x28\xb5\x2f\xfd"):
            # Python supports zstd only from 3.14 on.
            words = ["zstd", "--decompress", "--stdout", "--quiet"]
            with subprocess.Popen(
                words, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                assert process.stdout
                yield process.stdout
        else:
            yield file


class _Builder(ET.TreeBuilder):
    """Tree builder with limits."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._count = 0

    def start(self, tag: str, attrs: dict[Any, Any], /) -> ET.Element:
        self._depth += 1
        self._count += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
        if self._count > _MAX_ELEMENTS:
            raise ValueError(f"it has more than {_MAX_ELEMENTS} elements")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        self._depth -= 1
        return super().end(tag)

    def doctype(self, *_: object) -> None:
        # Internal entities may expand each other, and external ones are other files.
        raise ValueError("it has a document type, which is not supported")


def parsed_xml(content: bytes) -> ET.Element:
    """Return the root element of an XML file.

    Raises:
        ValueError: it is not XML, exceeds a limit, or has a document type.
    """
    try:
        return ET.fromstring(content, ET.XMLParser(target=_Builder()))  # noqa: S314 - see _Builder
    except (ET.ParseError, LookupError) as error:  # LookupError: unknown encoding
        raise ValueError(str(error)) from error


def parsed_json(content: str | bytes) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: it is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
