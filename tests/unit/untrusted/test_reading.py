# SPDX-License-Identifier: MIT
"""Bounded reading of untrusted files: plain files, zip and tar archives, XML, JSON."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import UserError
from builder.untrusted import reading as bounded
from builder.untrusted.reading import (
    ZIP_ERRORS,
    UnreadableError,
    opened_zip,
    parsed_json,
    parsed_xml,
    plain_file,
    plain_text,
    tar_files,
    zip_method,
)


def test_a_plain_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1234")
    assert plain_file(path, most=4) == b"1234"
    with pytest.raises(UnreadableError, match="larger than the limit of 0 KiB") as caught:
        plain_file(path, most=3)
    assert caught.value.reason.startswith("is larger than")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda _: None, "cannot be read: No such file"),
        (Path.mkdir, "is a directory"),
        (os.mkfifo, "is not a plain file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a plain file"),
        (lambda path: path.symlink_to("/dev/full"), "is not a plain file"),
        (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels"),
    ],
)
def test_what_is_no_plain_file_is_not_opened(
    tmp_path: Path, make: Callable[[Path], object], what: str
) -> None:
    path = tmp_path / "x"
    make(path)
    with pytest.raises(UnreadableError, match=what):
        plain_file(path)


def test_text_is_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("\N{EURO SIGN}".encode())
    assert plain_text(path) == "\N{EURO SIGN}"
    path.write_bytes(b"\xff")
    with pytest.raises(UnreadableError, match="is not UTF-8 text"):
        plain_text(path)


# Zip files


def zipped(path: Path, method: int = zipfile.ZIP_DEFLATED, count: int = 1) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for number in range(count):
            archive.writestr(f"file-{number}", bytes(1000))
    return path


def test_a_zip_file_is_opened(tmp_path: Path) -> None:
    with opened_zip(zipped(tmp_path / "a.zip")) as archive:
        assert archive.read("file-0") == bytes(1000)


def test_the_list_of_a_zip_file_has_a_limit(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", count=100)
    with opened_zip(path, most_directory=8 << 10) as archive:
        assert len(archive.infolist()) == 100
    with (
        pytest.raises(zipfile.BadZipFile, match="too long"),
        opened_zip(path, most_directory=4 << 10),
    ):
        pass


def test_only_plain_files_are_zip_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.zip")
    with pytest.raises(UnreadableError), opened_zip(tmp_path / "a.zip"):
        pass
    with pytest.raises(ZIP_ERRORS), opened_zip(tmp_path / "none"):
        pass


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_methods_that_unpack_without_limit_are_none(tmp_path: Path, method: int) -> None:
    with opened_zip(zipped(tmp_path / "a.zip", method)) as archive:
        assert "Deflate" in str(zip_method(archive.infolist()[0]))
    with opened_zip(zipped(tmp_path / "b.zip")) as archive:
        assert zip_method(archive.infolist()[0]) is None


# Tar archives


def tar(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-q"], input=content, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstd],
    ids=lambda each: each.__name__,
)
def test_a_tar_archive_is_read_whatever_it_is_packed_by(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "archive"
    path.write_bytes(pack(tar(("./a", b"one"), ("b/c", b"two" * 10_000))))
    found = {name: opener().read() for name, opener in tar_files(path)}
    assert found == {"a": b"one", "b/c": b"two" * 10_000}


def test_content_that_nobody_reads_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(gzip.compress(tar(("a", bytes(32 << 20)), ("b", b"two"))))
    assert [name for name, _ in tar_files(path)] == ["a", "b"]


def test_links_and_devices_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(tar(("a", b""), kind=tarfile.SYMTYPE))
    assert [*tar_files(path)] == []


def test_names_may_begin_at_the_root(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(tar(("/usr/a", b"")))
    assert [name for name, _ in tar_files(path, from_root=True)] == ["usr/a"]
    with pytest.raises(UserError, match="leads out"):
        [*tar_files(path)]


def test_an_archive_that_ends_within_a_member_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a")
        info.size = 100_000
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    path.write_bytes(path.read_bytes()[:5000])
    files = tar_files(path)
    _, opener = next(files)
    with (
        opener() as content,
        pytest.raises(UserError, match=r"a\.tar cannot be read: unexpected end"),
    ):
        content.read()


def long_headers(kind: bytes) -> bytes:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = kind, 8 << 20
    return info.tobuf() + b"x" * info.size


def long_map(kind: bytes) -> bytes:
    """Return an archive with a sparse member whose list of holes is very long."""
    info = tarfile.TarInfo("a")
    info.type = kind
    first = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    first[482] = 1  # the list goes on in the next block
    first[148:156] = b"%06o\0 " % (sum(first[:148]) + 8 * 32 + sum(first[156:]))
    return bytes(first) + struct.pack("504sB7s", b"0" * 504, 1, b"") * ((8 << 20) // 512)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (long_headers, tarfile.XHDTYPE),
        (long_headers, tarfile.GNUTYPE_LONGNAME),
        (long_map, tarfile.GNUTYPE_SPARSE),
    ],
)
def test_headers_of_a_member_have_a_limit(
    tmp_path: Path, make: Callable[[bytes], bytes], kind: bytes
) -> None:
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(gzip.compress(make(kind), 1))
    with pytest.raises(UserError, match="headers of a member are too long"):
        [*tar_files(path)]


def test_members_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "archive"
    path.write_bytes(tar(*((str(number), b"") for number in range(5))))
    assert len([*tar_files(path)]) == 5
    monkeypatch.setattr(bounded, "_MAX_MEMBERS", 4)
    with pytest.raises(UserError, match="more than 4 members"):
        [*tar_files(path)]


def test_a_member_of_less_than_no_bytes(tmp_path: Path) -> None:
    head = bytearray(tar(("a", b""))[:512])
    head[124:136] = b"\xff" * 12
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:]))
    path = tmp_path / "archive"
    path.write_bytes(bytes(head) + bytes(1024))
    with pytest.raises(UserError, match="cannot be read"):
        [*tar_files(path)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        gzip.compress(tar(("a", bytes(10_000))))[:-50],
        gzip.compress(b"x" * 5000),
        lzma.compress(tar(("a", os.urandom(5000))))[:2000],
        bz2.compress(tar(("a", b"")))[:50],
        b"\x28\xb5\x2f\xfd damaged",
    ],
    ids=["empty", "text", "cut off", "no tar", "xz", "bzip2", "zstd"],
)
def test_what_is_damaged_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "archive"
    path.write_bytes(content)
    with pytest.raises(UserError, match="archive cannot be read"):
        [opener().read() for _, opener in tar_files(path)]


# XML and JSON

LAUGHS = (
    "<!DOCTYPE a [<!ENTITY a0 'ha'>"
    + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))
    + "]><a>&a11;</a>"
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (LAUGHS, "document type"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "document type"),
        ("<a>" * 100_000, "nested more than 64 deep"),
        ('<?xml version="1.0" encoding="none"?><a/>', "unknown encoding"),
        ("<a", "unclosed token"),
        ("", "no element found"),
        ("<a>&b;</a>", "undefined entity"),
    ],
    ids=["laughs", "external", "deep", "encoding", "damaged", "empty", "entity"],
)
def test_xml_that_is_not_read(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parsed_xml(text.encode())


def test_xml_has_so_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "_MAX_ELEMENTS", 3)
    assert len(parsed_xml(b"<a><b/><c x='1'>text</c></a>")) == 2
    with pytest.raises(ValueError, match="more than 3 elements"):
        parsed_xml(b"<a><b/><b/><b/></a>")


def test_json_that_is_nested_is_no_bug() -> None:
    assert parsed_json('{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match="nested too deeply"):
        parsed_json("[" * 100_000)
