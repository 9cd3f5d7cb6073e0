# SPDX-License-Identifier: MIT
"""Python packages in apt packages, by their metadata, without installing any."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from email.parser import BytesHeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name

from builder.apt.archive import Archive
from builder.apt.archive_fetcher import ArchiveFetcher
from builder.apt.verification import remove_damaged
from builder.untrusted.reading import tar_members
from builder.untrusted.tree import read_bounded

# Name and directory of packages with Python 3 modules, by the Debian Python Policy.
_PREFIX = "python3-"
_METADATA = re.compile(
    r"usr/lib/python3(?:\.\d+)?/dist-packages/[^/]+\.(?:dist-info/METADATA|egg-info(?:/PKG-INFO)?)"
)
_INTERPRETER = {"python3-dev", "python3-pip", "python3-venv"}


def has_modules(packages: Sequence[str]) -> bool:
    """Return whether apt packages include Python modules other than the interpreter's own."""
    return any(name.startswith(_PREFIX) and name not in _INTERPRETER for name in packages)


def apt_modules(
    archive: Archive,
    packages: Sequence[str],
    cached: Path,
    work: Path,
    *,
    say: Callable[[str], object],
) -> dict[str, str]:
    """Return the versions of the Python packages in apt packages and their dependencies, by name.

    Args:
        archive: the archive of the packages.
        packages: names of the apt packages.
        cached: a directory that may contain some of them.
        work: a directory for downloads.
        say: called with a message for each damaged file in `cached`, which is removed.

    Raises:
        ArchiveUnavailable: a package does not exist or cannot be fetched.
    """
    found: dict[str, str] = {}
    installed = archive.installed_with(packages)
    wanted = [package for package in installed if package.name.startswith(_PREFIX)]
    remove_damaged(cached, archive.checksums(package.name for package in wanted), say)
    for package in wanted:
        deb = cached / package.file
        found |= _packages_in(
            deb if deb.exists() else ArchiveFetcher(archive).download(package, work)
        )
    return found


def _packages_in(deb: Path) -> dict[str, str]:
    """Return the Python packages with metadata in a .deb."""
    found: dict[str, str] = {}
    unpacked = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with subprocess.Popen(unpacked, stdout=subprocess.PIPE) as process:
        assert process.stdout
        for name, opener in tar_members(process.stdout, deb.name, from_root=True):
            if _METADATA.fullmatch(name):
                with opener() as file:
                    fields = BytesHeaderParser().parsebytes(read_bounded(file, name))
                if fields["Name"] and fields["Version"]:
                    found[canonicalize_name(fields["Name"])] = fields["Version"]
    return found
