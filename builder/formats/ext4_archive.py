# SPDX-License-Identifier: MIT
"""Conversion of a filesystem to a complete tar archive.

Python's tarfile cannot write extended attributes with binary values, and GNU tar reads only mounted
filesystems. So this module writes the extended headers itself (pax(1), "pax Header Block"; the
keywords for attributes are those of GNU tar and libarchive).
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO

from builder.errors import UserError
from builder.formats.ext4 import CHUNK, ROOT_INODE, Ext4, Inode

_KINDS = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
_LOST = b"lost+found"
"""mkfs creates this directory in every filesystem."""

_LONGEST_PATH = 4096
"""PATH_MAX of Linux."""

# GNU tar writes access control lists as text under keywords of its own; it also restores the
# attribute itself.
_ATTRIBUTE = b"SCHILY.xattr."


def archive_tree(filesystem: Ext4, to: IO[bytes], *, most: int = 1 << 40) -> int:
    """Write a filesystem's files as a tar archive; return their number.

    Sockets are left out: the listening program creates them.

    Raises:
        UserError: it is damaged, or its files have more than `most` bytes, including holes.
    """
    count = size = 0
    first: dict[int, bytes] = {}
    with tarfile.open(fileobj=to, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        archive.copybufsize = CHUNK  # type: ignore[attr-defined] # the size of the content's pieces
        for path, inode in _walk(filesystem):
            kind = _KINDS.get(stat.S_IFMT(inode.mode))
            if kind is None:
                continue
            count += 1
            size += inode.size if kind == tarfile.REGTYPE else 0
            if size > most:
                raise UserError(
                    f"the files of the root filesystem have more than {most >> 20} MiB, including "
                    f"holes: {os.fsdecode(path)} has {inode.size >> 20} MiB"
                )
            if inode.links > 1 and not inode.is_directory:
                if inode.number in first:
                    _add(archive, path, inode, tarfile.LNKTYPE, link=first[inode.number])
                    continue
                first[inode.number] = path
            link = filesystem.link(inode) if stat.S_ISLNK(inode.mode) else b""
            content = _Content(filesystem.content(inode)) if stat.S_ISREG(inode.mode) else None
            attributes = filesystem.attributes(inode)
            _add(archive, path, inode, kind, link=link, content=content, attributes=attributes)
    return count


def _walk(filesystem: Ext4) -> Iterator[tuple[bytes, Inode]]:
    """Yield the root directory and everything below it, in the order of names."""
    seen: set[int] = set()
    todo = [(b".", ROOT_INODE)]
    while todo:
        path, number = todo.pop()
        inode = filesystem.inode(number)
        yield path, inode
        if not inode.is_directory:
            continue
        if number in seen:
            raise filesystem.damaged(f"{os.fsdecode(path)} is a directory with a second name")
        seen.add(number)
        for name, entry in sorted(filesystem.entries(number).items(), reverse=True):
            if number == ROOT_INODE and name == _LOST:
                continue
            where = path + b"/" + name
            if not name or b"/" in name or b"\0" in name or len(where) > _LONGEST_PATH:
                raise filesystem.damaged(f"{os.fsdecode(where)!r:.100} is not a valid file name")
            todo.append((where, entry))


def _add(
    archive: tarfile.TarFile,
    path: bytes,
    inode: Inode,
    kind: bytes,
    *,
    link: bytes = b"",
    content: _Content | None = None,
    attributes: Mapping[str, bytes] | None = None,
) -> None:
    size = inode.size if content else 0
    seconds, nanoseconds = divmod(inode.mtime, 10**9)
    fields = {
        b"path": path,
        b"uid": b"%d" % inode.owner,
        b"gid": b"%d" % inode.group,
        b"size": b"%d" % size,
        b"mtime": b"%d.%09d" % (seconds, nanoseconds) if seconds >= 0 else b"%d" % seconds,
        **({b"linkpath": link} if link else {}),
        **{_ATTRIBUTE + os.fsencode(name): value for name, value in (attributes or {}).items()},
    }
    extended = b"".join(_record(name, value) for name, value in fields.items())
    header = tarfile.TarInfo("PaxHeader")
    header.type = tarfile.XHDTYPE
    header.size = len(extended)
    archive.addfile(header, io.BytesIO(extended))
    # The extended header has most fields; set only those without a keyword, and the mandatory ones.
    member = tarfile.TarInfo("member")
    member.type = kind
    member.mode = stat.S_IMODE(inode.mode)
    member.size = size
    member.linkname = "link" if link else ""
    member.devmajor, member.devminor = inode.device if kind in _DEVICES else (0, 0)
    archive.addfile(member, content)


_DEVICES = (tarfile.CHRTYPE, tarfile.BLKTYPE)


def _record(name: bytes, value: bytes) -> bytes:
    """Return a record of an extended header, which begins with its own length."""
    rest = b" " + name + b"=" + value + b"\n"
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


class _Content:
    """Readable file object for content that is generated in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._left) < size and (piece := next(self._pieces, b"")):
            self._left += piece
        data, self._left = self._left[:size], self._left[size:]
        return data
