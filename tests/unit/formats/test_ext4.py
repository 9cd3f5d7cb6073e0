# SPDX-License-Identifier: MIT
"""Reading a filesystem without mounting it, and archiving it."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from builder.errors import UserError
from builder.formats.ext4 import Ext4, superblock
from builder.formats.ext4_archive import archive_tree
from tests.fixtures.cards import ext4, tool

CAPABILITY = bytes.fromhex("0100000280200000000000000000000000000000")
CHANGES = (
    *("cd /", "mknod null c 1 3", "mknod large b 259 300", "mknod pipe p"),
    *("ln plain sub/hard", "set_inode_field plain links_count 2"),
    *("set_inode_field plain uid 100000", "set_inode_field plain gid 7"),
    "set_inode_field plain mode 0104755",
    # 2001-02-03 04:05:06.123456789
    *("set_inode_field plain mtime @981173106", "set_inode_field plain mtime_extra 493827156"),
    "ea_set plain user.note hello",
)
FEATURES = (
    ("-b", "4096", "-O", "metadata_csum,64bit"),
    ("-b", "1024", "-O", "^metadata_csum,^64bit"),
    ("-b", "4096", "-O", "^extent,^metadata_csum,^64bit"),
    ("-b", "4096", "-O", "inline_data"),
    ("-b", "4096", "-I", "128", "-O", "^metadata_csum,^64bit"),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with all kinds of files; not to be changed."""
    folder = tmp_path_factory.mktemp("ext4") / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "many").mkdir()
    (folder / "plain").write_text("hello\n")
    (folder / "tiny").write_text("x")
    content = b"".join(bytes([number % 251]) * 4096 for number in range(700))
    (folder / "content").write_bytes(content)
    with (folder / "sparse").open("wb") as file:
        file.seek(3 << 20)
        file.write(b"end")
    (folder / "short").symlink_to("plain")
    (folder / "long").symlink_to("x" * 200)
    (folder / "up").symlink_to("/sub/../short")
    (folder / os.fsdecode(b"not \xff UTF-8")).write_text("")
    for number in range(500):
        (folder / f"many/a rather long name of a file {number}").write_text("")
    return folder


@pytest.fixture(scope="module", params=FEATURES, ids=" ".join)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tree: Path
) -> Path:
    """A filesystem of the tree; not to be changed."""
    folder = tmp_path_factory.mktemp("ext4")
    path = ext4(folder / "fs", tree, *request.param, commands=CHANGES)
    (folder / "capability").write_bytes(CAPABILITY)
    tool(
        *("debugfs", "-w", "-R"),
        *(f"ea_set -f {folder}/capability plain security.capability", path),
    )
    return path


def test_every_form_of_a_filesystem_reads_alike(made: Path, tree: Path) -> None:
    with Ext4(made) as filesystem:
        root = filesystem.entries(2)
        assert set(root) == {b"lost+found", b"null", b"large", b"pipe"} | {
            os.fsencode(path.name) for path in tree.iterdir()
        }
        plain = filesystem.inode(root[b"plain"])
        assert (plain.owner, plain.group, plain.links) == (100000, 7, 2)
        assert plain.mode == stat.S_IFREG | 0o4755
        assert plain.mtime // 10**9 == 981173106
        if superblock(made).inode == 256:
            assert plain.mtime % 10**9 == 123456789
        assert filesystem.attributes(plain) == {
            "user.note": b"hello",
            "security.capability": CAPABILITY,
        }
        assert filesystem.entries(root[b"sub"])[b"hard"] == plain.number
        assert filesystem.inode(root[b"null"]).device == (1, 3)
        assert filesystem.inode(root[b"large"]).device == (259, 300)
        assert len(filesystem.entries(root[b"many"])) == 500
        for name in ("plain", "tiny", "content", "sparse"):
            found = b"".join(filesystem.content(filesystem.inode(root[name.encode()])))
            assert found == (tree / name).read_bytes()
        assert filesystem.link(filesystem.inode(root[b"long"])) == b"x" * 200
        assert filesystem.read("/up") == "hello\n"
        assert filesystem.read("sub/../tiny") == "x"
        assert filesystem.find("/tiny/more") is None
        assert filesystem.read("/sub") is None


def test_the_archive_holds_all_that_the_filesystem_does(made: Path, tree: Path) -> None:
    archive = io.BytesIO()
    with Ext4(made) as filesystem:
        count = archive_tree(filesystem, archive)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as opened:
        members = {os.fsencode(member.name): member for member in opened.getmembers()}
        found = opened.extractfile("./content")
        assert found
        assert found.read() == (tree / "content").read_bytes()
    assert count == len(members)
    assert b"./lost+found" not in members
    assert b"./not \xff UTF-8" in members
    plain, hard = members[b"./plain"], members[b"./sub/hard"]
    assert (plain.uid, plain.gid, plain.mode) == (100000, 7, 0o4755)
    assert int(plain.mtime) == 981173106
    assert plain.pax_headers["SCHILY.xattr.user.note"] == "hello"
    assert os.fsencode(plain.pax_headers["SCHILY.xattr.security.capability"]) == CAPABILITY
    assert hard.islnk()
    assert hard.linkname == "./plain"
    assert (members[b"./large"].devmajor, members[b"./large"].devminor) == (259, 300)
    assert members[b"./pipe"].isfifo()
    assert members[b"./long"].linkname == "x" * 200


def test_gnu_tar_takes_the_archive_as_it_is(made: Path, tmp_path: Path) -> None:
    with Ext4(made) as filesystem, (tmp_path / "tree.tar").open("wb") as file:
        archive_tree(filesystem, file)
    listed = subprocess.run(
        ["tar", "--list", "--verbose", "--numeric-owner", "--xattrs", "--file", file.name],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stderr == ""
    assert "-rwsr-xr-x* 100000/7" in listed.stdout
    assert "link to ./plain" in listed.stdout


def test_a_filesystem_may_begin_anywhere_in_a_file(made: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.write_bytes(bytes(3 << 20) + made.read_bytes())
    with Ext4(moved, offset=3 << 20) as filesystem:
        assert filesystem.read("plain") == "hello\n"
    assert superblock(moved, offset=3 << 20).uuid == superblock(made).uuid


def test_the_superblock_says_what_dumpe2fs_does(made: Path) -> None:
    said = superblock(made)
    listed = tool("dumpe2fs", "-h", made)
    assert said.is_one
    assert said.label == "PYNQ_ROOT"
    assert f"UUID:          {said.uuid}\n" in listed
    assert f"Block size:               {said.block}\n" in listed
    assert f"Block count:              {said.size // said.block}\n" in listed
    assert not said.needs_recovery


@pytest.mark.parametrize("content", [b"", b"nothing", bytes(1 << 20)])
def test_what_is_no_filesystem_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "none"
    path.write_bytes(content)
    assert not superblock(path).is_one
    with pytest.raises(UserError, match="the root filesystem cannot be read"):
        Ext4(path)


def test_damage_is_told_and_nothing_left_out(tmp_path: Path, tree: Path) -> None:
    path = ext4(tmp_path / "fs", tree, "-O", "metadata_csum")
    number = tool("debugfs", "-R", "stat /many", path).split()[1]
    block = int(tool("debugfs", "-R", f"blocks <{number}>", path).split()[0])
    size = superblock(path).block
    with path.open("r+b") as file:
        file.seek(block * size + 100)
        file.write(b"\xff" * 64)
    with Ext4(path) as filesystem, pytest.raises(UserError, match="is damaged: directory"):
        archive_tree(filesystem, io.BytesIO())
