# SPDX-License-Identifier: MIT
"""The files of a hardware export: an .xsa, which is a zip file, or a bare .hwh out of one."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from builder.errors import UserError

LARGEST = 1 << 28
"""Bytes of the largest file that is read: a .hwh of a big design has some 20 MB, a .bit 130 MB."""

_HINT = "Vivado writes one with File > Export > Export Hardware, or write_hw_platform"
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, OSError, ValueError),
)
"""What reading a zip file raises that is damaged, encrypted, or packed in a way unknown here."""


@dataclass(frozen=True, kw_only=True)
class HardwareExport:
    """A hardware export; `members` are its files: base name -> name in the zip file."""

    path: Path
    members: Mapping[str, str]
    zipped: bool

    def named(self, suffix: str) -> list[str]:
        """Return the base names of the files with a suffix, in order."""
        return sorted(name for name in self.members if name.lower().endswith(suffix))

    def read(self, name: str) -> bytes:
        """Return the content of the file with a base name.

        Raises:
            UserError: it cannot be read, or is larger than LARGEST.
        """
        try:
            if not self.zipped:
                return self.path.read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                size = archive.getinfo(self.members[name]).file_size
                if size > LARGEST:
                    raise UserError(f"{self.path}: {name} would have {size >> 20} MiB unpacked")
                return archive.read(self.members[name])
        except _UNREADABLE as error:
            raise UserError(f"{self.path}: {name} cannot be read: {error}", hint=_HINT) from error


def open_export(path: Path) -> HardwareExport:
    """Return a hardware export.

    Raises:
        UserError: there is none, or it is something else.
    """
    try:
        with path.open("rb") as file:
            start = file.read(256).lstrip(b"\xef\xbb\xbf \t\r\n")
        if start.startswith((b"<?xml", b"<EDKSYSTEM")):
            return HardwareExport(path=path, members={path.name: path.name}, zipped=False)
        with zipfile.ZipFile(path) as archive:
            # The files are at the top; tools that repack exports have put them into a directory.
            members = {
                PurePosixPath(name).name: name
                for name in sorted(archive.namelist(), key=lambda name: (-name.count("/"), name))
                if not name.endswith("/")
            }
    except FileNotFoundError as error:
        raise UserError(f"there is no hardware export {path}") from error
    except _UNREADABLE as error:
        raise UserError(f"{path} is not a hardware export: {error}", hint=_HINT) from error
    return HardwareExport(path=path, members=members, zipped=True)
