# SPDX-License-Identifier: MIT
"""Signed release files of archives (https://wiki.debian.org/DebianRepository/Format).

They list the indexes of a suite with their hashes, and when they expire.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

# Characters that apt escapes in names of lists, in addition to control and non-ASCII characters.
_ESCAPED = b'\\|{}[]<>"^~_=!@#$%&*'
# Exactly one text with one signature: no unsigned text can be read.
_SIGNED = re.compile(
    rb"-----BEGIN PGP SIGNED MESSAGE-----\n(?:[^\n]+\n)*\n"
    rb"((?:(?!-----)[^\n]*\n)*)"
    rb"-----BEGIN PGP SIGNATURE-----\n(?:(?!-----)[^\n]*\n)*-----END PGP SIGNATURE-----\n*"
)


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index as listed in a release file: its size in bytes and its SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Release:
    """Content of a release file. Times are in seconds since 1970; None if missing."""

    date: int | None
    valid_until: int | None
    indexes: Mapping[str, Index]


def read_release(path: Path) -> Release:
    """Read a release file, InRelease or Release, without checking its signature.

    Raises:
        ValueError: it is not a release file.
    """
    content = path.read_bytes()
    if path.name.endswith("InRelease"):
        # Lines may end in CR LF (RFC 9580, 7.1).
        signed = _SIGNED.fullmatch(content.replace(b"\r\n", b"\n"))
        if signed is None:
            raise ValueError("it is not one signed text")
        content = signed[1]
    text = content.decode()
    listed = re.search(r"^SHA256:[ \t]*\n((?: .*\n?)+)", text, re.MULTILINE)
    indexes: dict[str, Index] = {}
    for line in listed[1].splitlines() if listed else ():
        sha256, size, name = line.split()
        indexes[name] = Index(size=int(size), sha256=sha256)
    return Release(
        date=_time(text, "Date"), valid_until=_time(text, "Valid-Until"), indexes=indexes
    )


def list_name(url: str) -> str:
    """Return the file name of an index in apt's lists, as apt's function URItoFileName does."""
    _, _, rest = url.partition(":")
    host, slash, path = rest.removeprefix("//").partition("/")
    return quoted(f"{host.rpartition('@')[2]}{slash}{path}")  # without user and password


def quoted(path: str) -> str:
    """Return a path as it appears in such a file name."""
    return "".join(
        f"%{byte:02x}" if byte in _ESCAPED or not 0x20 < byte < 0x7F else chr(byte)
        for byte in path.encode()
    ).replace("/", "_")


def _time(text: str, field: str) -> int | None:
    found = re.search(rf"^{field}: (.+)$", text, re.MULTILINE)
    return int(parsedate_to_datetime(found[1]).timestamp()) if found else None
