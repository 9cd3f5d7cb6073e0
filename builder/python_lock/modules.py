# SPDX-License-Identifier: MIT
"""The Python packages that apt brings, as their own metadata names them, without installing any."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from email.parser import BytesHeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name

from builder.apt.archive import Archive
from builder.apt.verification import remove_damaged
from builder.untrusted.reading import tar_members
from builder.untrusted.tree import read_bounded

# Debian Python Policy: modules of Python 3 are in packages of this name, and there.
_PREFIX = "python3-"
_METADATA = re.compile(
    r"usr/lib/python3(?:\.\d+)?/dist-packages/[^/]+\.(?:dist-info/METADATA|egg-info(?:/PKG-INFO)?)"
)
_INTERPRETER = {"python3-dev", "python3-pip", "python3-venv"}


def has_modules(packages: Sequence[str]) -> bool:
    """Return whether there are Python modules among apt packages, beside the interpreter's own."""
    return any(name.startswith(_PREFIX) and name not in _INTERPRETER for name in packages)


def apt_modules(
    archive: Archive,
    packages: Sequence[str],
    kept: Path,
    work: Path,
    *,
    say: Callable[[str], object],
) -> dict[str, str]:
    """Return name and version of the Python packages that apt packages and their dependencies hold.

    Args:
        archive: where they come from.
        packages: the apt packages that are wanted.
        kept: a directory in which some of them may be already.
        work: a directory that the others are downloaded to.
        say: called with a sentence for each file in `kept` that is damaged, and so removed.

    Raises:
        ArchiveUnavailable: there is no such package, or it cannot be fetched.
    """
    found: dict[str, str] = {}
    installed = archive.installed_with(packages)
    wanted = [package for package in installed if package.name.startswith(_PREFIX)]
    remove_damaged(kept, archive.checksums(package.name for package in wanted), say)
    for package in wanted:
        deb = kept / package.file
        found |= _held(deb if deb.exists() else archive.download(package, work))
    return found


def _held(deb: Path) -> dict[str, str]:
    """Return the Python packages of which a .deb has the metadata."""
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
