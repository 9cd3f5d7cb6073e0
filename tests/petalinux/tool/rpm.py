# SPDX-License-Identifier: MIT
"""Packages in rpm's format: lead, empty signature and header, compressed cpio archive.

Format: "RPM V3 Package file format" of the Linux Standard Base, and cpio(5) ("newc").
"""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

_LEAD = struct.pack(">4sBBhh66shh16x", b"\xed\xab\xee\xdb", 3, 0, 0, 1, b"double", 1, 5)
_EMPTY_HEADER = struct.pack(">4s4xii", b"\x8e\xad\xe8\x01", 0, 0)
_DIRECTORY, _FILE, _LINK = 0o040755, 0o100644, 0o120777


def package(folder: Path, name: str) -> bytes:
    """Return a package that installs a directory as /`name`, or its contents as / without a name."""
    top = f"./{name}" if name else "."
    above = reversed([Path(name), *Path(name).parents][:-1])
    entries = [_entry(f"./{each}", _DIRECTORY, b"") for each in above]
    for path in sorted(folder.rglob("*")):
        inside = f"{top}/{path.relative_to(folder)}"
        if path.is_symlink():
            entries.append(_entry(inside, _LINK, os.readlink(str(path)).encode()))  # noqa: PTH115 - Python 3.8
        elif path.is_dir():
            entries.append(_entry(inside, _DIRECTORY, b""))
        else:
            mode = _FILE | (path.stat().st_mode & 0o111)
            entries.append(_entry(inside, mode, path.read_bytes()))
    entries.append(_entry("TRAILER!!!", 0, b""))
    return _LEAD + _EMPTY_HEADER * 2 + gzip.compress(b"".join(entries), 1)


def _entry(name: str, mode: int, content: bytes) -> bytes:
    words = name.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(words), 0)
    head = b"070701" + "".join(f"{number:08x}" for number in numbers).encode() + words
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
