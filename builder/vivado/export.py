# SPDX-License-Identifier: MIT
"""Files of a hardware export: an .xsa, which is a zip file, or a single .hwh."""

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
"""Maximum size of a file in bytes: a .hwh of a big design has some 20 MB, a .bit 130 MB."""

_MAX_DIRECTORY = 1 << 20
"""Maximum size of the zip directory in bytes: some 10,000 files; Vivado's have a hundred."""

_HINT = "use Vivado's File > Export > Export Hardware, or write_hw_platform"


@dataclass(frozen=True, kw_only=True)
class HardwareExport:
    """A hardware export; `members` are its files: name in the zip file by base name."""

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
            with opened_zip(self.path, most_directory=_MAX_DIRECTORY) as archive:
                info = archive.getinfo(self.members[name])
                if info.file_size > most:
                    size = info.file_size >> 20
                    raise UserError(f"{self.path}: {name} is too large: {size} MiB unpacked")
                if wrong := zip_method(info):
                    raise UserError(f"{self.path}: {name} {wrong}", hint=_HINT)
                with archive.open(info) as file:
                    return read_bounded(file, name, most=most)
        except ZIP_ERRORS as error:
            raise UserError(f"{self.path}: {name} cannot be read: {error}", hint=_HINT) from error


def open_export(path: Path) -> HardwareExport:
    """Open a hardware export.

    Raises:
        UserError: it does not exist, or is not a hardware export.
    """
    try:
        start = plain_head(path, 256).lstrip(b"\xef\xbb\xbf \t\r\n")
        if start.startswith((b"<?xml", b"<EDKSYSTEM")):
            return HardwareExport(path=path, members={path.name: path.name}, zipped=False)
        with opened_zip(path, most_directory=_MAX_DIRECTORY) as archive:
            # Vivado stores files at the top level; tools that repack exports may use a directory.
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
