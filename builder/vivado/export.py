# SPDX-License-Identifier: MIT
"""The files of a hardware export: an .xsa, which is a zip file, or a bare .hwh out of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from builder.errors import UserError
from builder.untrusted.reading import (
    ZIP_ERRORS,
    UnreadableError,
    opened_zip,
    plain_file,
    plain_head,
    zip_method,
)
from builder.untrusted.tree import read_bounded

LARGEST = 1 << 28
"""Bytes of the largest file that is read: a .hwh of a big design has some 20 MB, a .bit 130 MB."""

_MOST_DIRECTORY = 1 << 20
"""Bytes of the list of its files: some 10,000; Vivado's have a hundred."""

_HINT = "Vivado writes one with File > Export > Export Hardware, or write_hw_platform"


@dataclass(frozen=True, kw_only=True)
class HardwareExport:
    """A hardware export; `members` are its files: base name -> name in the zip file."""

    path: Path
    members: Mapping[str, str]
    zipped: bool

    def named(self, suffix: str) -> list[str]:
        """Return the base names of the files with a suffix, in order."""
        return sorted(name for name in self.members if name.lower().endswith(suffix))

    def read(self, name: str, *, most: int | None = None) -> bytes:
        """Return the content of the file with a base name.

        Raises:
            UserError: it cannot be read, or has more than `most` bytes (default: LARGEST).
        """
        most = LARGEST if most is None else most
        try:
            if not self.zipped:
                return plain_file(self.path, most=most)
            with opened_zip(self.path, most_directory=_MOST_DIRECTORY) as archive:
                info = archive.getinfo(self.members[name])
                if info.file_size > most:
                    size = info.file_size >> 20
                    raise UserError(f"{self.path}: {name} would have {size} MiB unpacked")
                if wrong := zip_method(info):
                    raise UserError(f"{self.path}: {name} {wrong}", hint=_HINT)
                with archive.open(info) as file:
                    return read_bounded(file, name, most=most)
        except ZIP_ERRORS as error:
            raise UserError(f"{self.path}: {name} cannot be read: {error}", hint=_HINT) from error


def open_export(path: Path) -> HardwareExport:
    """Return a hardware export.

    Raises:
        UserError: there is none, or it is something else.
    """
    try:
        start = plain_head(path, 256).lstrip(b"\xef\xbb\xbf \t\r\n")
        if start.startswith((b"<?xml", b"<EDKSYSTEM")):
            return HardwareExport(path=path, members={path.name: path.name}, zipped=False)
        with opened_zip(path, most_directory=_MOST_DIRECTORY) as archive:
            # The files are at the top; tools that repack exports have put them into a directory.
            members = {
                PurePosixPath(name).name: name
                for name in sorted(archive.namelist(), key=lambda name: (-name.count("/"), name))
                if not name.endswith("/")
            }
    except FileNotFoundError as error:
        raise UserError(f"there is no hardware export {path}") from error
    except UnreadableError as error:
        raise UserError(f"{path} is not a hardware export: {error.reason}", hint=_HINT) from error
    except ZIP_ERRORS as error:
        raise UserError(f"{path} is not a hardware export: {error}", hint=_HINT) from error
    return HardwareExport(path=path, members=members, zipped=True)
