# SPDX-License-Identifier: MIT
"""What the PYNQ library uses of AMD's XRT, over the buffer device of the kernel.

PYNQ 3 imports `pyxrt` on every board. On an embedded one it takes little of it: a device to ask
about, buffers that the programmable logic can reach, and a place to announce the memories of a
design. The names are XRT's, so they are not all like Python's. XRT's own module goes before this
one, wherever on Python's path it is installed.

Buffers come from /dev/pynq-buffer (pynq-buffer.h); a buffer lives as long as its `bo` or a
memoryview of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import fcntl
import mmap
import os
import struct
import threading
import uuid as _uuid
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["bo", "device", "uuid", "xclBOSyncDirection", "xrt_info_device"]

DEVICE = Path("/dev/pynq-buffer")
MAPS = Path("/proc/self/maps")

# struct pynq_buffer_alloc: size, address, flags, file; struct pynq_buffer_sync: offset, length,
# direction, 0.
_ALLOC = struct.Struct("=QQIi")
_SYNC = struct.Struct("=QQII")
_CACHEABLE = 0x1


def _request(direction: int, number: int, argument: struct.Struct) -> int:
    """Return the number of an ioctl, as <linux/ioctl.h> makes it."""
    return direction << 30 | argument.size << 16 | 0xBD << 8 | number


_IOC_ALLOC = _request(3, 0, _ALLOC)
_IOC_SYNC = _request(1, 2, _SYNC)

_MAGIC = b"xclbin2\0"
_UUID_OFFSET = 0x1A0

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_MAP_FAILED = ctypes.c_void_p(-1).value


class xclBOSyncDirection(enum.IntEnum):  # noqa: N801 - XRT's name
    """The direction of a sync."""

    XCL_BO_SYNC_BO_TO_DEVICE = 0
    XCL_BO_SYNC_BO_FROM_DEVICE = 1


_DIRECTIONS = {
    xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE: 0x1,
    xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE: 0x2,
}
"""The buffer device's words for them."""


class xrt_info_device:  # noqa: N801 - XRT's name
    """What can be asked of a device."""

    # No enumeration of Python's: its members could not be called `name`.
    bdf = 0
    dynamic_regions = 1
    electrical = 2
    host = 3
    m2m = 4
    max_clock_frequency_mhz = 5
    mechanical = 6
    memory = 7
    name = 8
    pcie_info = 9
    thermal = 10
    vmr = 11


_KNOWN: dict[int, object] = {
    xrt_info_device.bdf: "0000:00:00.0",
    xrt_info_device.name: "edge",
    # PYNQ goes through it as a list. The clocks of the logic are the clock driver's matter.
    xrt_info_device.max_clock_frequency_mhz: (),
}
"""What an embedded device has to say; the rest are accelerator cards' matters."""


class uuid:  # noqa: N801 - XRT's name
    """The identity of a loaded xclbin."""

    def __init__(self, value: bytes) -> None:
        self._value = _uuid.UUID(bytes=value)

    def to_string(self) -> str:
        """Return it in the usual form."""
        return str(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, uuid) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"uuid({self._value})"


class device:  # noqa: N801 - XRT's name
    """The board itself. There is one, number 0."""

    def __init__(self, index: int = 0) -> None:
        if index != 0:
            raise ValueError(f"there is no device {index}: a board has one, 0")
        self.uuid: uuid | None = None

    def get_info(self, what: int) -> Any:
        """Return what is known, `what` being one of `xrt_info_device`."""
        return _KNOWN.get(what, "{}")

    def load_xclbin(self, path: str | os.PathLike[str]) -> uuid:
        """Take note of an xclbin and return its identity.

        Its memories are the processor's: there is nothing to set up for them.

        Raises:
            ValueError: the file is no xclbin.
        """
        head = Path(path).read_bytes()[: _UUID_OFFSET + 16]
        if not head.startswith(_MAGIC) or len(head) < _UUID_OFFSET + 16:
            raise ValueError(f"{os.fspath(path)} is no xclbin")
        self.uuid = uuid(head[_UUID_OFFSET:])
        return self.uuid


class bo:  # noqa: N801 - XRT's name
    """A buffer: contiguous memory that the programmable logic can reach.

    Raises:
        ValueError: the size is not positive, or the memory is not the processor's.
        OSError: the device is not there or not for this user, or has no such piece of memory.
    """

    class flags(enum.IntEnum):  # noqa: N801 - XRT's name
        """How it is mapped: past the processor's caches, or through them and synced."""

        normal = 0
        cacheable = 1 << 24

    def __init__(
        self, device: device, size: int, flags: flags = flags.normal, bank: int = 0
    ) -> None:
        if bank != 0:
            raise ValueError(f"memory {bank} is not the processor's: buffers cannot be there")
        if size <= 0:
            raise ValueError(f"a buffer of {size} bytes")
        self._device = device
        wanted = _CACHEABLE if flags == self.flags.cacheable else 0
        argument = bytearray(_ALLOC.pack(size, 0, wanted, -1))
        with _opened() as file:
            fcntl.ioctl(file, _IOC_ALLOC, argument)
        self._size = size
        self._whole, self._address, _, self._file = _ALLOC.unpack(argument)
        # Not at exit: others may still use it, and the process takes it along.
        weakref.finalize(self, os.close, self._file).atexit = False
        self._view: weakref.ref[Any] | None = None

    def size(self) -> int:
        """Return how many bytes were asked for."""
        return self._size

    def address(self) -> int:
        """Return where it is on the bus of the logic."""
        address: int = self._address
        return address

    def map(self) -> memoryview:
        """Return its bytes, to be read and written in place; the same ones each time."""
        bytes_ = self._view() if self._view else None
        if bytes_ is None:
            bytes_ = _Mapping(self._file, self._whole).bytes(self._size)
            self._view = weakref.ref(bytes_)
        return memoryview(bytes_).cast("B")

    def sync(self, direction: xclBOSyncDirection, size: int | None = None, offset: int = 0) -> None:
        """Make what one side wrote visible to the other: all of it, or `size` bytes at `offset`."""
        length = self._size - offset if size is None else size
        self._check(offset, length)
        word = _DIRECTIONS[xclBOSyncDirection(direction)]
        fcntl.ioctl(self._file, _IOC_SYNC, _SYNC.pack(offset, length, word, 0))

    def write(self, data: Any, size: int | None = None, seek: int = 0) -> None:
        """Copy from a bytes-like object into the buffer."""
        source = memoryview(data).cast("B")[:size]
        self._part(seek, len(source))[:] = source

    def read(self, data: Any, size: int | None = None, skip: int = 0) -> None:
        """Copy out of the buffer into a writable bytes-like object."""
        target = memoryview(data).cast("B")[:size]
        target[:] = self._part(skip, len(target))

    def _check(self, offset: int, length: int) -> None:
        if not 0 <= offset <= offset + length <= self._size:
            raise ValueError(f"{length} bytes at {offset} are not in a buffer of {self._size}")

    def _part(self, offset: int, length: int) -> memoryview:
        self._check(offset, length)
        return self.map()[offset : offset + length]


@contextlib.contextmanager
def _opened() -> Iterator[int]:
    """Open the buffer device."""
    try:
        file = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        error.strerror = "no buffer device: is the kernel's module pynq-buffer loaded?"
        raise
    except PermissionError as error:
        error.strerror = "not allowed to use the buffer device: is the user in its group?"
        raise
    try:
        yield file
    finally:
        os.close(file)


class _Mapping:
    """A buffer's pages in this process, until no memoryview of them is left.

    PYNQ unmaps the memory of an array itself, by its address, when it frees it (munmap(2)), and
    somebody else may be given those addresses before this object goes. So pages are given back
    here only as far as they are still this buffer's: not taken by a later mapping, and files of
    the buffer device as the kernel sees it.
    """

    _lock = threading.RLock()  # a garbage collection may release one while another is made
    _all: list[_Mapping] = []  # noqa: RUF012 - not a dataclass

    def __init__(self, file: int, size: int) -> None:
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        with self._lock:
            start = _libc.mmap(None, size, protection, mmap.MAP_SHARED, file, 0)
            if start == _MAP_FAILED:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            self.pieces = [(start, start + size)]
            for other in self._all:
                other.pieces = [
                    piece for old in other.pieces for piece in _without(old, self.pieces[0])
                ]
            self._all.append(self)

    def bytes(self, size: int) -> Any:
        """Return the first bytes as an object that keeps this one alive."""
        found = (ctypes.c_ubyte * size).from_address(self.pieces[0][0])
        weakref.finalize(found, self.release).atexit = False
        return found

    def release(self) -> None:
        """Unmap what is still there."""
        with self._lock:
            self._all.remove(self)
            for seen in _buffers():
                for piece in self.pieces:
                    first, last = max(seen[0], piece[0]), min(seen[1], piece[1])
                    if first < last:
                        _libc.munmap(first, last - first)


def _without(piece: tuple[int, int], taken: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield what is left of a range of addresses, from the first to the one behind the last."""
    for first, last in ((piece[0], min(piece[1], taken[0])), (max(piece[0], taken[1]), piece[1])):
        if first < last:
            yield first, last


def _buffers() -> list[tuple[int, int]]:
    """Return where buffers are mapped in this process."""
    found = []
    for line in MAPS.read_text().splitlines():
        if line.endswith("[pynq-buffer]"):
            first, _, last = line.partition(" ")[0].partition("-")
            found.append((int(first, 16), int(last, 16)))
    return found
