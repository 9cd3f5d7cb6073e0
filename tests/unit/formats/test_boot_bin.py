# SPDX-License-Identifier: MIT
"""BOOT.BIN from mkimage and bootgen, for both families, and damaged."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import UserError
from builder.formats import boot_bin as bootbin
from builder.spec.models import Soc

PAYLOAD = bytes(range(256)) * 16


def header(payload: bytes = PAYLOAD, **changed: int) -> bytes:
    """Return a boot image with a valid checksum and no tables."""
    words = {
        "width": bootbin.WIDTH_DETECTION,
        "identification": bootbin.IDENTIFICATION,
        "encryption": 0,
        "version": 0x01010000,
        "offset": 0x8C0,
        "length": len(payload),
        "load": 0,
        "entry": 0,
        "total": len(payload),
        "qspi": 1,
    } | changed
    checksum = ~sum(words.values()) & 0xFFFFFFFF
    head = b"\xfe\xff\xff\xea" * 8 + struct.pack("<11I", *words.values(), checksum)
    return head.ljust(0x8C0, b"\0") + payload


@pytest.fixture
def image(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "BOOT.BIN"
        path.write_bytes(data)
        return path

    return write


def zynqmp(payload: bytes = PAYLOAD, *, pmu: bytes = b"", **changed: int) -> bytes:
    """Return the same for Zynq UltraScale+."""
    words = {
        "width": bootbin.WIDTH_DETECTION,
        "identification": bootbin.IDENTIFICATION,
        "encryption": 0,
        "load": 0xFFFC0000,
        "offset": 0x9C0,
        "pmu": len(pmu),
        "total pmu": len(pmu),
        "length": len(payload),
        "total": len(payload),
        "attributes": 0x800,
    } | changed
    checksum = ~sum(words.values()) & 0xFFFFFFFF
    head = b"\xfe\xff\xff\xea" * 8 + struct.pack("<11I", *words.values(), checksum)
    return head.ljust(0x9C0, b"\0") + pmu + payload


def test_header(image: Callable[[bytes], Path]) -> None:
    found = bootbin.parse(image(header(load=0x40, entry=0x80)), Soc.ZYNQ)
    assert (found.header.load_address, found.header.entry) == (0x40, 0x80)
    assert found.first_stage == PAYLOAD
    assert found.pmu == b""


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "shorter"),
        (b"\x7fELF" + bytes(4096), "no boot header: 0x00000000 0x00000000"),
        (header(identification=0x584E4C58), "no boot header"),
        (header()[:0x100], "shorter"),
        (header()[:-4], "truncated"),
        (header(offset=0x8C4), "cannot start at 0x8c4"),
        (header(encryption=1), "encryption word 0x00000001"),
        (header(bytes(200 * 1024)), "does not fit"),
        (header(length=0), "does not fit"),
        (header(load=0x40), "loaded to 0x00000040 and started at 0x00000000, .* print nothing"),
        (header(entry=len(PAYLOAD)), "started at 0x00001000, outside of its 4096 bytes"),
        (header()[:0x34] + b"\1" + header()[0x35:], "header's checksum"),
    ],
)
def test_damage(image: Callable[[bytes], Path], data: bytes, complaint: str) -> None:
    path = image(data)
    with pytest.raises(UserError, match=complaint) as caught:
        bootbin.parse(path, Soc.ZYNQ)
    assert isinstance(caught.value, ValueError)
    assert caught.value.message.startswith(str(path))


def test_header_of_zynqmp(image: Callable[[bytes], Path]) -> None:
    found = bootbin.parse(image(zynqmp(pmu=bytes(640))), Soc.ZYNQMP)
    assert found.header.load_address == 0xFFFC0000
    assert (found.pmu, found.first_stage) == (bytes(640), PAYLOAD)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (header(), "header's checksum|cannot be loaded|cannot start"),
        (zynqmp(load=0), "cannot be loaded to 0x00000000"),
        (zynqmp(bytes(0x2A004)), r"does not fit the 172032 at 0xfffc0000"),
        (zynqmp(pmu=bytes(0x20040)), "PMU firmware of 131136 bytes does not fit the PMU's 131072"),
        (zynqmp(pmu=bytes(640))[:-4], "truncated"),
        (zynqmp()[:0x34] + b"\1" + zynqmp()[0x35:], "header's checksum"),
    ],
)
def test_damage_of_zynqmp(image: Callable[[bytes], Path], data: bytes, complaint: str) -> None:
    with pytest.raises(bootbin.BootImageError, match=complaint):
        bootbin.parse(image(data), Soc.ZYNQMP)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(bootbin.BootImageError, match="cannot be read"):
        bootbin.parse(tmp_path / "none", Soc.ZYNQ)


def run(*argv: str | Path) -> None:
    subprocess.run([str(each) for each in argv], check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which("mkimage"), reason="needs mkimage (u-boot-tools)")
def test_what_mkimage_makes(tmp_path: Path) -> None:
    (tmp_path / "spl.bin").write_bytes(PAYLOAD)
    path = tmp_path / "boot.bin"
    run("mkimage", "-T", "zynqimage", "-d", tmp_path / "spl.bin", path)
    found = bootbin.parse(path, Soc.ZYNQ)
    assert found.first_stage == PAYLOAD
    # mkimage counts its header in; a file that is truncated must be seen all the same.
    assert found.header.length == path.stat().st_size
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(bootbin.BootImageError, match="truncated"):
        bootbin.parse(path, Soc.ZYNQ)


def elf(address: int, code: bytes) -> bytes:
    """Return the smallest ARM program file: one segment."""
    ident = b"\x7fELF\1\1\1".ljust(16, b"\0")
    head = struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, address, 52, 0, 0x5000400, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<8I", 1, 84, address, address, len(code), len(code), 5, 4)
    return ident + head + segment + code


@pytest.fixture
def bootgen_image(tmp_path: Path) -> Path:
    (tmp_path / "fsbl.elf").write_bytes(elf(0, PAYLOAD))
    (tmp_path / "u-boot.elf").write_bytes(elf(0x4000000, PAYLOAD[::-1] * 2))
    (tmp_path / "system.dtb").write_bytes(PAYLOAD[:512])
    (tmp_path / "boot.bif").write_text(
        f"boot_image: {{ [bootloader] {tmp_path}/fsbl.elf"
        f" [checksum=md5] {tmp_path}/u-boot.elf"
        f" [load=0x00100000] {tmp_path}/system.dtb }}\n"
    )
    output = tmp_path / "BOOT.BIN"
    run("bootgen", "-arch", "zynq", "-image", tmp_path / "boot.bif", "-o", output, "-w", "on")
    return output


@pytest.mark.skipif(not shutil.which("bootgen"), reason="needs bootgen (xilinx-bootgen)")
class TestBootgen:
    """A boot image from bootgen."""

    def test_whole(self, bootgen_image: Path) -> None:
        assert bootbin.parse(bootgen_image, Soc.ZYNQ).first_stage == PAYLOAD

    @pytest.mark.parametrize(
        ("what", "complaint"),
        [
            ("table", "unknown version"),
            ("header", "checksum of partition header 1"),
            ("data", r"partition 1 \(u-boot.elf\) does not match its MD5"),
            ("end", r"partition 1 \(u-boot.elf\) ends at \d+, .* truncated"),
        ],
    )
    def test_damage(self, bootgen_image: Path, what: str, complaint: str) -> None:
        tables = bootbin.parse(bootgen_image, Soc.ZYNQ).header
        data = bytearray(bootgen_image.read_bytes())
        spot = {
            "table": tables.image_table_offset,
            "header": tables.partition_table_offset + 64 + 12,
            "data": data.index(PAYLOAD[::-1]) + 100,
            "end": data.rindex(PAYLOAD[:512]) + 256,
        }[what]
        if what == "end":
            del data[spot:]
        else:
            data[spot] ^= 0xFF
        bootgen_image.write_bytes(data)
        with pytest.raises(bootbin.BootImageError, match=complaint):
            bootbin.parse(bootgen_image, Soc.ZYNQ)


def with_tables(partitions: int, name: bytes) -> bytes:
    """Return a boot image with tables of partitions, each of which has this name."""
    data = bytearray(header())
    end = len(data)
    struct.pack_into("<2I", data, 0x98, end, end + 16)
    names_at = end + 16 + 64 * (partitions + 1)
    words = [0, 0, 1 << 20, 0, 0, 0, 0, 0, 0, (names_at - 16) // 4, *[0] * 5]
    if partitions > 1:
        words[2] = 16
    entry = struct.pack("<16I", *words, ~sum(words) & 0xFFFFFFFF)
    return (
        bytes(data)
        + struct.pack("<4I", 0x01010000, 0, 0, 0)
        + entry * partitions
        + bytes(64)
        + name
    )


def test_tables_without_end_are_refused(image: Callable[[bytes], Path]) -> None:
    with pytest.raises(UserError, match="more than 64 partitions"):
        bootbin.parse(image(with_tables(65, b"")), Soc.ZYNQ)


def test_a_name_without_end_is_cut_off(image: Callable[[bytes], Path]) -> None:
    with pytest.raises(UserError, match=r"partition 0 \(x{256}\) ends at"):
        bootbin.parse(image(with_tables(1, b"x" * 4096)), Soc.ZYNQ)
