# SPDX-License-Identifier: MIT
"""The functions of XRT that PYNQ uses, on a fake of the kernel's buffer device.

Buffers are files in memory (memfd_create(2)), so that they can be mapped as the device's are.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fixtures.product import ROOT

RECIPE = ROOT / "recipes/pyxrt/files"
HEADER = ROOT / "petalinux_bsp/meta-user/recipes-modules/pynq-buffer/files/pynq-buffer.h"
PAGE = os.sysconf("SC_PAGESIZE")
ADDRESS = 0x18000000


class Device:
    """A fake of /dev/pynq-buffer and of the files that it returns."""

    def __init__(self) -> None:
        self.files: list[int] = []
        self.asked: list[tuple[int, int]] = []
        self.synced: list[tuple[int, int, int, int]] = []

    def ioctl(self, file: int, request: int, argument: Any) -> int:
        direction, size, kind, number = (
            *(request >> 30, request >> 16 & 0x3FFF),
            *(request >> 8 & 0xFF, request & 0xFF),
        )
        assert kind == 0xBD
        if (direction, number) == (3, 0):
            wanted, _, flags, _ = struct.unpack("=QQIi", argument)
            assert size == len(argument) == 24
            if wanted > 1 << 30:
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
            whole = -(-wanted // PAGE) * PAGE
            made = os.memfd_create("[pynq-buffer]")
            os.ftruncate(made, whole)
            self.files.append(made)
            self.asked.append((wanted, flags))
            argument[:] = struct.pack("=QQIi", whole, ADDRESS + len(self.files) * 0x100000, 0, made)
        else:
            assert (direction, number, size) == (1, 2, 24)
            self.synced.append((file, *struct.unpack("=QQI4x", argument)))
        return 0


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    found = Device()
    monkeypatch.setattr("fcntl.ioctl", found.ioctl)
    return found


@pytest.fixture
def pyxrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The recipe's module, which is not a package of the builder."""
    spec = importlib.util.spec_from_file_location("pyxrt", RECIPE / "pyxrt.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec.loader.exec_module(module)
    (tmp_path / "device").touch()
    monkeypatch.setattr(module, "DEVICE", tmp_path / "device")
    # A file in memory is called so in there, with its name in front of `(deleted)`.
    real = module._buffers  # noqa: SLF001 - the kernel's view
    monkeypatch.setattr(module, "_buffers", lambda: seen(real))
    return module


def seen(real: Any) -> list[tuple[int, int]]:
    assert real() == []  # none is the device's
    return mapped()


def mapped() -> list[tuple[int, int]]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    places = [line.split()[0] for line in lines if "memfd:[pynq-buffer]" in line]
    return [(int(a, 16), int(b, 16)) for a, b in (place.split("-") for place in places)]


def is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


def made(pyxrt: ModuleType, size: int, *, cacheable: bool = False) -> Any:
    flags = pyxrt.bo.flags.cacheable if cacheable else pyxrt.bo.flags.normal
    return pyxrt.bo(pyxrt.device(0), size, flags, 0)


@pytest.mark.parametrize("cacheable", [False, True])
def test_a_buffer_is_what_was_asked_for(
    pyxrt: ModuleType, device: Device, *, cacheable: bool
) -> None:
    buffer = made(pyxrt, 10000, cacheable=cacheable)
    assert device.asked == [(10000, int(cacheable))]
    assert (buffer.size(), buffer.address()) == (10000, ADDRESS + 0x100000)
    view = buffer.map()
    assert isinstance(view, memoryview)
    assert (view.nbytes, view.format, view.readonly) == (10000, "B", False)
    view[:5] = b"hello"
    assert os.pread(device.files[0], 6, 0) == b"hello\0"
    assert bytes(buffer.map()[:5]) == b"hello"
    assert len(mapped()) == 1


def test_the_numbers_are_those_of_the_header(pyxrt: ModuleType) -> None:
    """The layout of the kernel module's header, according to the compiler."""
    names = ("ALLOC", "SYNC", "CACHEABLE", "TO_DEVICE", "FROM_DEVICE")
    source = "".join(f"long long {name} = PYNQ_BUFFER_{name};\n" for name in names)
    listed = subprocess.run(
        ["gcc", "-include", HEADER, "-xc", "-S", "-o-", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    quads = [int(line.split()[1]) for line in listed.splitlines() if ".quad" in line]
    words = pyxrt._DIRECTIONS  # noqa: SLF001 - against the header
    assert quads == [
        *(pyxrt._IOC_ALLOC, pyxrt._IOC_SYNC, pyxrt._CACHEABLE),  # noqa: SLF001
        words[pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE],
        words[pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE],
    ]


def test_a_sync_is_of_all_or_of_a_part(pyxrt: ModuleType, device: Device) -> None:
    buffer = made(pyxrt, 5000, cacheable=True)
    to, back = pyxrt.xclBOSyncDirection
    buffer.sync(to)
    buffer.sync(back, 100, 7)
    buffer.sync(back, offset=1000)
    file = device.files[0]
    assert device.synced == [(file, 0, 5000, 1), (file, 7, 100, 2), (file, 1000, 4000, 2)]


@pytest.mark.parametrize(
    ("size", "offset", "message"),
    [
        (None, 5001, "-1 bytes at 5001"),
        (None, -1, "5001 bytes at -1"),
        (5001, 0, "5001 bytes at 0"),
        (100, 4901, "100 bytes at 4901"),
        (-1, 0, "-1 bytes at 0"),
        (1 << 64, 0, f"{1 << 64} bytes at 0"),
    ],
)
def test_a_sync_of_what_is_outside_of_the_buffer_is_refused(
    pyxrt: ModuleType, device: Device, size: int | None, offset: int, message: str
) -> None:
    buffer = made(pyxrt, 5000)
    with pytest.raises(ValueError, match=f"{message} are not in a buffer of 5000"):
        buffer.sync(pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE, size, offset)
    assert device.synced == []


def test_the_last_one_frees(pyxrt: ModuleType, device: Device) -> None:
    buffer = made(pyxrt, PAGE)
    view = buffer.map()[8:16]
    del buffer
    gc.collect()
    assert not is_open(device.files[0])
    view[:] = b"12345678"  # still there
    assert len(mapped()) == 1
    del view
    gc.collect()
    assert mapped() == []


def test_what_pynq_unmaps_is_left_to_whoever_got_it(pyxrt: ModuleType, device: Device) -> None:
    """PYNQ unmaps an array's memory, which another mapping may reuse before the array is freed."""
    buffer = made(pyxrt, 4 * PAGE)
    view = buffer.map()
    ((start, end),) = mapped()
    libc = ctypes.CDLL(None)
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    assert libc.munmap(start, 3 * PAGE) == 0
    assert mapped() == [(start + 3 * PAGE, end)]
    others = []
    while not any(first < start + 3 * PAGE and last > start for first, last in mapped()):
        others.append(made(pyxrt, PAGE))
        others[-1].map()[0] = 1
        others.append(others[-1].map())
    before = mapped()
    del view, buffer
    gc.collect()
    left = mapped()
    assert set(before) - set(left) <= {(start + 3 * PAGE, end)} or len(left) >= len(before) - 1
    assert all(other[0] == 1 for other in others if isinstance(other, memoryview))


@pytest.mark.parametrize(
    ("size", "bank", "error"), [(0, 0, ValueError), (4096, 1, ValueError), (1 << 31, 0, OSError)]
)
def test_what_cannot_be_is_refused(
    pyxrt: ModuleType, device: Device, size: int, bank: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        pyxrt.bo(pyxrt.device(0), size, pyxrt.bo.flags.normal, bank)
    assert device.files == []


def test_without_the_device_it_is_said(pyxrt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyxrt, "DEVICE", Path("/nowhere/device"))
    with pytest.raises(FileNotFoundError, match="is the kernel's module pynq-buffer loaded"):
        made(pyxrt, 1)
    with pytest.raises(ValueError, match="there is no device 1"):
        pyxrt.device(1)


def test_reading_and_writing_copies(pyxrt: ModuleType, device: Device) -> None:
    buffer = made(pyxrt, 100)
    data = ctypes.create_string_buffer(b"abcde", 5)
    buffer.write(data, 4, 96)
    target = bytearray(3)
    buffer.read(target, 3, 97)
    assert target == b"bcd"
    with pytest.raises(ValueError, match="4 bytes at 97 are not in a buffer of 100"):
        buffer.write(data, 4, 97)


def test_a_device_knows_all_that_pynq_asks(pyxrt: ModuleType) -> None:
    board = pyxrt.device(0)
    names = [name for name in vars(pyxrt.xrt_info_device) if not name.startswith("_")]
    assert len(names) == 12
    infos = {name: board.get_info(getattr(pyxrt.xrt_info_device, name)) for name in names}
    assert infos["name"] == "edge"
    assert [*infos["max_clock_frequency_mhz"]] == []


@pytest.mark.parametrize("suffix", EXTENSION_SUFFIXES)
def test_xrts_own_module_goes_first(tmp_path: Path, suffix: str) -> None:
    """The module is installed into the directory of the real one."""

    def found() -> str | None:
        PathFinder.invalidate_caches()
        spec = PathFinder.find_spec("pyxrt", [str(tmp_path)])
        return spec.origin if spec else None

    shutil.copy(RECIPE / "pyxrt.py", tmp_path)
    assert found() == str(tmp_path / "pyxrt.py")
    (tmp_path / f"pyxrt{suffix}").touch()
    assert found() == str(tmp_path / f"pyxrt{suffix}")


# xclbinutil

START = """
import runpy, sys
main = runpy.run_path(sys.argv.pop(1))["main"]
main.__globals__["XRT"] = (sys.argv.pop(1),)
sys.exit(main())
"""
"""A script that runs xclbinutil with another directory of XRT's programs."""


def packed(tmp_path: Path, memories: list[dict[str, object]], *more: str) -> Any:
    (tmp_path / "metadata.xml").write_text("<project/>")
    topology = {"mem_topology": {"m_mem_data": memories, "m_count": len(memories)}}
    (tmp_path / "mem.json").write_text(json.dumps(topology))
    return subprocess.run(
        [
            *(sys.executable, "-B", RECIPE / "xclbinutil"),
            "--add-section=EMBEDDED_METADATA:RAW:metadata.xml",
            "--add-section=MEM_TOPOLOGY:JSON:mem.json",
            *("--output", "t.xclbin", "--skip-bank-grouping", *more),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


MEMORY = {
    "m_type": "MEM_DDR4",
    "m_used": 1,
    "m_sizeKB": 262144,
    "m_tag": "PSDDR",
    "m_base_address": 0x10000000,
}


def test_an_xclbin_has_its_sections(tmp_path: Path, pyxrt: ModuleType) -> None:
    assert packed(tmp_path, [MEMORY, {**MEMORY, "m_tag": "MIG1"}]).returncode == 0
    data = (tmp_path / "t.xclbin").read_bytes()
    assert data[:8] == b"xclbin2\0"
    assert struct.unpack_from("<Q", data, 304) == (len(data),)
    assert struct.unpack_from("<I", data, 0x1C0) == (2,)
    sections = {}
    for index in range(2):
        kind, _, place, size = struct.unpack_from("<I16s4xQQ", data, 0x1C8 + 40 * index)
        sections[kind] = data[place : place + size]
    assert sections[2] == b"<project/>"
    assert struct.unpack_from("<i", sections[6]) == (2,)
    one, two = struct.iter_unpack("<BB6xQQ16s", sections[6][8:])
    assert one == (1, 1, 262144, 0x10000000, b"PSDDR".ljust(16, b"\0"))
    assert two[4].rstrip(b"\0") == b"MIG1"
    board = pyxrt.device(0)
    identity = board.load_xclbin(tmp_path / "t.xclbin")
    assert identity == board.load_xclbin(str(tmp_path / "t.xclbin"))
    assert identity.to_string().replace("-", "") == data[0x1A0:0x1B0].hex()


def test_xrts_own_program_is_started_instead(tmp_path: Path) -> None:
    real = tmp_path / "xclbinutil"
    real.write_text('#!/bin/sh\necho "$0 $*"\nexit 3\n')
    real.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-B", "-c", START, RECIPE / "xclbinutil", tmp_path, "--info", "a b"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, f"{real} --info a b\n")


def test_a_link_to_this_program_is_not_taken_for_xrts(tmp_path: Path) -> None:
    (tmp_path / "xclbinutil").symlink_to(RECIPE / "xclbinutil")
    done = subprocess.run(
        [sys.executable, "-B", "-c", START, RECIPE / "xclbinutil", tmp_path, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "Packs an xclbin" in done.stdout


def test_another_content_is_another_xclbin(tmp_path: Path, pyxrt: ModuleType) -> None:
    found = []
    for tag in ("one", "two", "one"):
        packed(tmp_path, [{**MEMORY, "m_tag": tag}])
        found.append(pyxrt.device(0).load_xclbin(tmp_path / "t.xclbin"))
    assert found[0] == found[2] != found[1]


def test_no_xclbin_is_refused(tmp_path: Path, pyxrt: ModuleType) -> None:
    (tmp_path / "x").write_bytes(b"xclbin1" + bytes(1000))
    with pytest.raises(ValueError, match="x is no xclbin"):
        pyxrt.device(0).load_xclbin(tmp_path / "x")


@pytest.mark.parametrize(
    ("memories", "more", "message"),
    [
        ([MEMORY], "--add-section=BITSTREAM:RAW:x", "only EMBEDDED_METADATA:RAW, MEM_TOPOLOGY"),
        ([{"m_type": "MEM_DDR4"}], "", "mem.json does not describe memories: KeyError"),
        ([{**MEMORY, "m_type": "TAPE"}], "", "mem.json does not describe memories: ValueError"),
    ],
)
def test_what_cannot_be_packed_is_said(
    tmp_path: Path, memories: list[dict[str, object]], more: str, message: str
) -> None:
    done = packed(tmp_path, memories, *([more] if more else []))
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "t.xclbin").exists()
