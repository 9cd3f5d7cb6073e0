# SPDX-License-Identifier: MIT
"""Reader of ext2, ext3 and ext4 filesystems in files, without mounting and without root.

It uses libext2fs, the library of mke2fs, debugfs and e2fsck, which is installed with them. The
library supports all ways in which ext4 stores data (extents, inline data, extended attributes in
inodes of their own) and checks its checksums. debugfs itself is not sufficient: `rdump` does not
support extended attributes, hard links and devices.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterator, Mapping
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_size_t, c_uint, c_uint32, c_void_p
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from struct import unpack_from
from types import TracebackType

from builder.errors import HostError, UserError

ROOT_INODE = 2
_64BITS = 0x20000  # EXT2_FLAG_64BITS
_INODE_BYTES = 256
_GOOD_OLD_INODE = 128
CHUNK = 1 << 20
"""Maximum size of a piece of content, in bytes."""

_MAX_LINKS = 40
_LONGEST_LINK = 4096
_LARGEST_TEXT = 64 << 20
_ATTRIBUTES_MAGIC = (0xEA020000).to_bytes(4, "little")
_ACLS = ("system.posix_acl_access", "system.posix_acl_default")

_DIR_CALLBACK = ctypes.CFUNCTYPE(c_int, c_uint32, c_int, c_void_p, c_int, c_int, c_void_p, c_void_p)
_XATTR_CALLBACK = ctypes.CFUNCTYPE(c_int, c_char_p, POINTER(c_char), c_size_t, c_void_p)


@dataclass(frozen=True, kw_only=True)
class Inode:
    """An inode; `mtime` is in nanoseconds since 1970, `device` is major and minor number."""

    number: int
    mode: int
    owner: int
    group: int
    size: int
    links: int
    mtime: int
    device: tuple[int, int]
    raw: bytes

    @property
    def is_directory(self) -> bool:
        """Whether the inode is a directory."""
        return stat.S_ISDIR(self.mode)


class Ext4:
    """A filesystem at an offset (in bytes) of a file. Use it as a context manager.

    Not thread-safe, since the library is not.
    """

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self._path = path
        self._lib = _library()
        self._fs = c_void_p()
        self._buffer = ctypes.create_string_buffer(CHUNK)
        error = self._lib.ext2fs_open2(
            os.fsencode(path),
            f"offset={offset}".encode(),
            _64BITS,
            0,
            0,
            c_void_p.in_dll(self._lib, "unix_io_manager"),
            byref(self._fs),
        )
        if error:
            raise UserError(f"{path}: the root filesystem cannot be read: {self._message(error)}")

    def inode(self, number: int) -> Inode:
        """Return an inode."""
        raw = ctypes.create_string_buffer(_INODE_BYTES)
        self._check(
            self._lib.ext2fs_read_inode_full(self._fs, number, raw, _INODE_BYTES), f"inode {number}"
        )
        return _inode(number, raw.raw)

    def entries(self, directory: int) -> dict[bytes, int]:
        """Return the names in a directory with their inodes' numbers, without `.` and `..`."""
        found: dict[bytes, int] = {}

        def entry(_: int, __: int, at: int, *___: object) -> int:
            number, _, length = unpack_from("<IHH", ctypes.string_at(at, 8))
            # The upper half is the kind of file (EXT2_FEATURE_INCOMPAT_FILETYPE).
            found[ctypes.string_at(at + 8, length & 0xFF)] = number
            return 0

        callback = _DIR_CALLBACK(entry)
        self._check(
            self._lib.ext2fs_dir_iterate2(self._fs, directory, 0, None, callback, None),
            f"directory {directory}",
        )
        return {name: number for name, number in found.items() if name not in (b".", b"..")}

    def attributes(self, inode: Inode) -> dict[str, bytes]:
        """Return the extended attributes of an inode, as getxattr(2) does."""
        if not _has_attributes(inode.raw):
            return {}
        found: dict[str, bytes] = {}

        def attribute(name: bytes, value: object, length: int, _: object) -> int:
            found[os.fsdecode(name)] = ctypes.string_at(value, length)  # type: ignore[arg-type]
            return 0

        callback = _XATTR_CALLBACK(attribute)
        handle = c_void_p()
        what = f"extended attributes of inode {inode.number}"
        self._check(self._lib.ext2fs_xattrs_open(self._fs, inode.number, byref(handle)), what)
        try:
            self._check(self._lib.ext2fs_xattrs_read(handle), what)
            self._check(self._lib.ext2fs_xattrs_iterate(handle, callback, None), what)
            # ACLs have different formats on disk and in system calls.
            for name in filter(_ACLS.__contains__, found):
                found[name] = self._attribute(handle, name, what)
        finally:
            self._lib.ext2fs_xattrs_close(byref(handle))
        found.pop("system.data", None)  # the continuation of inline data, not an attribute
        return found

    def _attribute(self, handle: c_void_p, name: str, what: str) -> bytes:
        value, length = c_void_p(), c_size_t()
        self._check(
            self._lib.ext2fs_xattr_get(handle, name.encode(), byref(value), byref(length)), what
        )
        data = ctypes.string_at(value, length.value)
        self._lib.ext2fs_free_mem(byref(value))
        return data

    def content(self, inode: Inode) -> Iterator[bytes]:
        """Yield the content of a file, or of a long symbolic link, in pieces."""
        handle = c_void_p()
        what = f"content of inode {inode.number}"
        self._check(self._lib.ext2fs_file_open(self._fs, inode.number, 0, byref(handle)), what)
        try:
            got = c_uint()
            left = inode.size
            while left:
                wanted = min(left, CHUNK)
                self._check(
                    self._lib.ext2fs_file_read(handle, self._buffer, wanted, byref(got)), what
                )
                if not got.value:
                    raise UserError(f"{self._path}: {what} ends early")
                left -= got.value
                yield ctypes.string_at(self._buffer, got.value)
        finally:
            self._lib.ext2fs_file_close(handle)

    def link(self, inode: Inode) -> bytes:
        """Return the target of a symbolic link."""
        if inode.size > _LONGEST_LINK:
            raise self.damaged(f"the symbolic link of inode {inode.number} is too long")
        if self._lib.ext2fs_is_fast_symlink(inode.raw):
            return inode.raw[0x28 : 0x28 + inode.size]
        return b"".join(self.content(inode))

    def find(self, path: str) -> Inode | None:
        """Return the inode at a path, following links inside the filesystem; None if missing."""
        todo = [part for part in os.fsencode(path).split(b"/") if part]
        trail = [ROOT_INODE]
        links = 0
        while todo:
            part = todo.pop(0)
            if part == b"..":
                trail = trail[:-1] or trail
                continue
            here = self.inode(trail[-1])
            number = self.entries(here.number).get(part) if here.is_directory else None
            if number is None:
                return None
            found = self.inode(number)
            if not stat.S_ISLNK(found.mode):
                trail.append(number)
                continue
            links += 1
            target = self.link(found)
            if links > _MAX_LINKS:
                return None
            if target.startswith(b"/"):
                trail = [ROOT_INODE]
            todo = [part for part in target.split(b"/") if part and part != b"."] + todo
        return self.inode(trail[-1])

    def read(self, path: str) -> str | None:
        """Return the text of a file; None if there is no such file.

        Raises:
            UserError: the file is too large.
        """
        found = self.find(path)
        if found is None or not stat.S_ISREG(found.mode):
            return None
        if found.size > _LARGEST_TEXT:
            raise UserError(f"{self._path}: {path} has more than {_LARGEST_TEXT >> 20} MiB")
        return b"".join(self.content(found)).decode(errors="replace")

    def __enter__(self) -> Ext4:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lib.ext2fs_close_free(byref(self._fs))

    def damaged(self, what: str) -> UserError:
        """Return the error for a problem with the filesystem."""
        return UserError(
            f"{self._path}: the root filesystem is damaged: {what}",
            hint="to repair a card, run `e2fsck -f` on its second partition",
        )

    def _check(self, error: int, what: str) -> None:
        if error:
            raise self.damaged(f"{what}: {self._message(error)}")

    def _message(self, error: int) -> str:
        if error < 1 << 16:
            return os.strerror(error)
        text: bytes = _messages().error_message(error)
        return text.decode()


@dataclass(frozen=True, kw_only=True)
class Superblock:
    """The superblock of a filesystem: ext4's documentation, "Super Block"."""

    data: bytes

    @cached_property
    def is_one(self) -> bool:
        """Whether the data is the superblock of a filesystem."""
        return len(self.data) == 1024 and self.data[0x38:0x3A] == b"\x53\xef"

    @property
    def block(self) -> int:
        """Size of a block in bytes."""
        shift: int = unpack_from("<I", self.data, 0x18)[0]
        return 1024 << shift

    @property
    def inode(self) -> int:
        """Size of an inode in bytes."""
        size: int = unpack_from("<H", self.data, 0x58)[0]
        return size or _GOOD_OLD_INODE

    @property
    def size(self) -> int:
        """Size of the filesystem in bytes."""
        low: int = unpack_from("<I", self.data, 0x04)[0]
        high: int = unpack_from("<I", self.data, 0x150)[0] if self._incompatible & 0x80 else 0
        return (high << 32 | low) * self.block

    @property
    def written(self) -> int:
        """Time of the last write, in seconds since 1970."""
        seconds: int = unpack_from("<I", self.data, 0x30)[0]
        return seconds

    @property
    def uuid(self) -> str:
        """UUID of the filesystem."""
        text = self.data[0x68:0x78].hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    @property
    def label(self) -> str:
        """Label of the filesystem."""
        return self.data[0x78:0x88].rstrip(b"\0").decode(errors="replace")

    @property
    def needs_recovery(self) -> bool:
        """Whether the journal contains data that has not been written to its final place."""
        return bool(self._incompatible & 0x4)

    @property
    def _incompatible(self) -> int:
        flags: int = unpack_from("<I", self.data, 0x60)[0]
        return flags


def superblock(path: Path, *, offset: int = 0) -> Superblock:
    """Read the superblock of a filesystem at an offset (in bytes) of a file."""
    with path.open("rb") as file:
        file.seek(offset + 1024)
        return Superblock(data=file.read(1024))


def _inode(number: int, raw: bytes) -> Inode:
    """Parse an inode: ext4's documentation, "Index Nodes"."""
    mode, uid, size, _, _, mtime = unpack_from("<HHIIIi", raw, 0)
    gid, links = unpack_from("<HH", raw, 0x18)
    size_high: int = unpack_from("<I", raw, 0x6C)[0]
    uid_high, gid_high = unpack_from("<HH", raw, 0x78)
    (more,) = unpack_from("<H", raw, 0x80)
    nanoseconds = mtime * 10**9
    if _GOOD_OLD_INODE + more >= 0x8C:
        (extra,) = unpack_from("<I", raw, 0x88)
        nanoseconds += ((extra & 3) << 32) * 10**9 + (extra >> 2)
    return Inode(
        number=number,
        mode=mode,
        owner=uid_high << 16 | uid,
        group=gid_high << 16 | gid,
        size=size | (size_high << 32 if stat.S_ISREG(mode) else 0),
        links=links,
        mtime=nanoseconds,
        device=_device(*unpack_from("<II", raw, 0x28)),
        raw=raw,
    )


def _has_attributes(raw: bytes) -> bool:
    """Return whether an inode has extended attributes, in itself or in a separate block."""
    (block,), (high,), (more,) = (
        unpack_from(form, raw, at) for form, at in (("<I", 0x68), ("<H", 0x76), ("<H", 0x80))
    )
    at = _GOOD_OLD_INODE + more
    return bool(block or high) or raw[at : at + 4] == _ATTRIBUTES_MAGIC


def _device(old: int, new: int) -> tuple[int, int]:
    """Return major and minor number: the kernel's old_decode_dev() and new_decode_dev()."""
    if old:
        return old >> 8 & 0xFF, old & 0xFF
    return (new & 0xFFF00) >> 8, (new & 0xFF) | (new >> 12 & 0xFFF00)


@lru_cache
def _library() -> ctypes.CDLL:
    try:
        lib = ctypes.CDLL("libext2fs.so.2")
    except OSError as error:
        raise HostError("libext2fs is not installed", hint="apt-get install e2fsprogs") from error
    signatures: Mapping[str, list[object]] = {
        "ext2fs_open2": [c_char_p, c_char_p, c_int, c_int, c_uint, c_void_p, c_void_p],
        "ext2fs_close_free": [c_void_p],
        "ext2fs_read_inode_full": [c_void_p, c_uint32, c_void_p, c_int],
        "ext2fs_dir_iterate2": [c_void_p, c_uint32, c_int, c_void_p, _DIR_CALLBACK, c_void_p],
        "ext2fs_xattrs_open": [c_void_p, c_uint32, c_void_p],
        "ext2fs_xattrs_read": [c_void_p],
        "ext2fs_xattrs_iterate": [c_void_p, _XATTR_CALLBACK, c_void_p],
        "ext2fs_xattrs_close": [c_void_p],
        "ext2fs_xattr_get": [c_void_p, c_char_p, c_void_p, c_void_p],
        "ext2fs_free_mem": [c_void_p],
        "ext2fs_file_open": [c_void_p, c_uint32, c_int, c_void_p],
        "ext2fs_file_read": [c_void_p, c_void_p, c_uint, c_void_p],
        "ext2fs_file_close": [c_void_p],
        "ext2fs_is_fast_symlink": [c_char_p],
    }
    for name, arguments in signatures.items():
        function = getattr(lib, name)
        function.argtypes = arguments
        function.restype = c_int if name == "ext2fs_is_fast_symlink" else ctypes.c_long
    return lib


@lru_cache
def _messages() -> ctypes.CDLL:
    """Return the library with the error messages of libext2fs."""
    lib = ctypes.CDLL("libcom_err.so.2")
    lib.error_message.argtypes = [ctypes.c_long]
    lib.error_message.restype = c_char_p
    _library().initialize_ext2_error_table()
    return lib
