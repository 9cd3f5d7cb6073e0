# SPDX-License-Identifier: MIT
"""ext4_writer.c: the project's own reader and e2fsck check the filesystems that it writes."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.formats.ext4 import ROOT_INODE, Ext4, superblock
from builder.image.ext4_writer import WRITER, compilation
from builder.image.filesystem import FEATURES
from tests.fixtures.cards import tool

MIB = 1 << 20
SIZE = 48 * MIB
OFFSET = 3 * MIB
EPOCH = 1_700_000_000
MTIME = 1_600_000_000_123_456_789
LATER = 4_000_000_000_000_000_001
"""Nanoseconds since 1970; the other time exceeds 32 bits of seconds."""

CAPABILITY = bytes.fromhex("0100000280200000000000000000000000000000")
ALL = ",".join(("none", *FEATURES))
OLD = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file,extra_isize"
)
FORMS = (
    ("-b", "4096", "-O", ALL),
    ("-b", "1024", "-O", f"{OLD},extent,flex_bg,uninit_bg"),
    ("-b", "4096", "-O", OLD),
    ("-b", "1024", "-I", "128", "-O", OLD),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    (folder / "sub/empty").mkdir(parents=True)
    (folder / "many").mkdir()
    (folder / "nothing").write_text("")
    (folder / "tiny").write_text("x")
    (folder / "block").write_bytes(b"b" * 4096)
    # Larger than a block group with blocks of 1 KiB, so that it has several extents.
    (folder / "large").write_bytes(b"".join(bytes([n % 251]) * 4099 for n in range(3000)))
    (folder / "zeros").write_bytes(bytes(100_000))
    with (folder / "sparse").open("wb") as file:
        file.seek(MIB)
        file.write(b"end")
    (folder / "short").symlink_to("tiny")
    (folder / "long").symlink_to("x" * 1000)
    (folder / "sub/hard").hardlink_to(folder / "block")
    os.link(folder / "long", folder / "long too", follow_symlinks=False)
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"not \xff UTF-8")).write_text("")
    (folder / "lost+found").mkdir(mode=0o750)
    (folder / "lost+found/found").write_text("again")
    (folder / "~last").write_text("but one")
    (folder / "~last of all").write_text("one")
    for number in range(200):
        (folder / f"many/a name that is {'very ' * 40}long {number}").write_text(str(number))
    (folder / "tiny").chmod(0o4755)
    (folder / "sub").chmod(0o1777)
    if os.geteuid() == 0:
        os.mknod(folder / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(folder / "disk", stat.S_IFBLK | 0o600, os.makedev(259, 300))
        os.chown(folder / "nothing", 100_000, 70_000)
        os.setxattr(folder / "block", "security.capability", CAPABILITY)
        # Needs a separate block.
        os.setxattr(folder / "large", "trusted.note", b"n" * 900)
        os.setxattr(folder / "zeros", "trusted.one", b"1")
        os.setxattr(folder / "zeros", "trusted.other", b"2")
    for path in folder.rglob("*"):
        os.utime(path, ns=(0, MTIME), follow_symlinks=False)
    os.utime(folder / "block", ns=(0, LATER))
    return folder


def empty(image: Path, *form: str) -> Path:
    """Create an image with an empty filesystem, and old data in its free blocks."""
    with image.open("wb") as file:
        file.write(b"\xff" * (OFFSET + SIZE))
    where = f"offset={OFFSET},hash_seed=64448fe0-ddfb-5348-96b1-ed8a57f75452,nodiscard"
    tool(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-U", "64448fe0-ddfb-5348-96b1-ed8a57f75452"),
        *("-E", where, *form),
        *(image, f"{SIZE // 1024}k"),
        environment={"E2FSPROGS_FAKE_TIME": str(EPOCH)},
    )
    return image


def written(writer: Path, image: Path, tree: Path) -> Path:
    tool(writer / "files" / WRITER, image, str(OFFSET), tree, str(EPOCH))
    return image


def refusal(writer: Path, *arguments: str | Path) -> tuple[int, str]:
    """Return exit status and error output of a failing run."""
    done = subprocess.run(
        [writer / "files" / WRITER, *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def objection(writer: Path, image: Path, tree: Path) -> str:
    """Return the program's error for a tree that it cannot write."""
    status, said = refusal(writer, image, str(OFFSET), tree, str(EPOCH))
    assert status == 1
    return said.removeprefix(f"write-ext4: {tree}/").removesuffix("\n")


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_everything_of_a_tree_is_there(
    ext4_writer: Path, tmp_path: Path, tree: Path, form: tuple[str, ...]
) -> None:
    image = written(ext4_writer, empty(tmp_path / "image", *form), tree)
    tool("e2fsck", "-f", "-n", f"{image}?offset={OFFSET}")
    with Ext4(image, offset=OFFSET) as filesystem:
        numbers: dict[int, int] = {}

        def compare(directory: Path, number: int) -> None:
            entries = filesystem.entries(number)
            assert set(entries) == {os.fsencode(path.name) for path in directory.iterdir()}
            for name, found in entries.items():
                path = directory / os.fsdecode(name)
                status, inode = path.lstat(), filesystem.inode(found)
                assert (inode.mode, inode.owner, inode.group) == (
                    *(status.st_mode, status.st_uid, status.st_gid),
                )
                if superblock(image, offset=OFFSET).inode > 128:
                    assert inode.mtime == status.st_mtime_ns
                else:  # the filesystem is full
                    assert inode.mtime // 10**9 == min(status.st_mtime_ns // 10**9, 2**31 - 1)
                assert numbers.setdefault(status.st_ino, found) == found
                if path.is_symlink():
                    assert filesystem.link(inode) == os.fsencode(path.readlink())
                    assert inode.links == status.st_nlink
                elif path.is_dir():
                    compare(path, found)
                else:
                    assert inode.links == status.st_nlink
                    if status.st_rdev:
                        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
                        assert inode.device == device
                    if path.is_file():
                        assert b"".join(filesystem.content(inode)) == path.read_bytes()
                if not path.is_symlink():
                    assert filesystem.attributes(inode) == {
                        each: os.getxattr(path, each) for each in os.listxattr(path)
                    }

        compare(tree, ROOT_INODE)
        assert len(set(numbers.values())) == len(numbers)


def test_all_other_times_are_the_date(ext4_writer: Path, tmp_path: Path, tree: Path) -> None:
    image = written(ext4_writer, empty(tmp_path / "image", *FORMS[0]), tree)
    shown = [
        tool("debugfs", "-R", f"stat {name}", f"{image}?offset={OFFSET}").splitlines()
        for name in ("/", "/tiny", "/sub", "/short", "/lost+found")
    ]
    date = "-- Tue Nov 14 22:13:20 2023"
    for lines in shown:
        times = [line.strip() for line in lines if "time: 0x" in line]
        assert len(times) == 4
        assert all(date in line for line in times if not line.startswith("mtime")), times
    assert all(date in line for line in shown[0] if "mtime" in line)


def test_the_same_tree_gives_the_same_bytes(ext4_writer: Path, tmp_path: Path, tree: Path) -> None:
    first = written(ext4_writer, empty(tmp_path / "first", *FORMS[0]), tree)
    again = tmp_path / "again"
    tool("cp", "-a", tree, again)
    for path in sorted(again.glob("many/*"), reverse=True):  # changes inodes and order
        moved = path.rename(again / "moved")
        shutil.copy2(moved, path)
        moved.unlink()
    for name in os.listxattr(again / "zeros"):
        os.removexattr(again / "zeros", name)
    for name in sorted(os.listxattr(tree / "zeros"), reverse=True):
        os.setxattr(again / "zeros", name, os.getxattr(tree / "zeros", name))
    os.utime(again / "many", ns=(0, MTIME))
    os.utime(again, (0, 0))
    second = written(ext4_writer, empty(tmp_path / "second", *FORMS[0]), again)
    assert first.read_bytes() == second.read_bytes()


def test_a_file_may_lie_in_many_places(ext4_writer: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    content = b"".join(bytes([1 + number % 251]) * 4099 for number in range(10_000))
    (tree / "large").write_bytes(content)
    form = ("-b", "1024", "-O", f"{OLD},extent,uninit_bg")  # groups of 8 MiB, apart
    image = written(ext4_writer, empty(tmp_path / "image", *form), tree)
    tool("e2fsck", "-f", "-n", f"{image}?offset={OFFSET}")
    assert "(ETB" in tool("debugfs", "-R", "stat /large", f"{image}?offset={OFFSET}")
    with Ext4(image, offset=OFFSET) as filesystem:
        found = filesystem.find("/large")
        assert found
        assert b"".join(filesystem.content(found)) == content


@pytest.mark.parametrize(
    ("epoch", "date"),
    [
        (5_000_000_000, "Jun 11 08:53:20 2128"),
        (0, "Jan  1 00:00:01 1970"),
        (20_000_000_000, "Apr  4 16:10:39 2310"),
    ],
)
def test_the_date_may_be_any(
    ext4_writer: Path, tmp_path: Path, tree: Path, epoch: int, date: str
) -> None:
    image = empty(tmp_path / "image", *FORMS[0])
    tool(ext4_writer / "files" / WRITER, image, str(OFFSET), tree, str(epoch))
    for name in ("/tiny", "/sub", "/short"):
        shown = tool("debugfs", "-R", f"stat {name}", f"{image}?offset={OFFSET}").splitlines()
        times = [line for line in shown if "time: 0x" in line and "mtime" not in line]
        assert len(times) == 3
        assert all(date in line for line in times), times


@pytest.mark.parametrize("wrong", [(1, "x"), (1, "-1"), (3, ""), (3, "1e9")])
def test_numbers_are_numbers(ext4_writer: Path, tmp_path: Path, wrong: tuple[int, str]) -> None:
    arguments = [str(tmp_path / "image"), "0", str(tmp_path), "1"]
    arguments[wrong[0]] = wrong[1]
    (tmp_path / "image").touch()
    said = refusal(ext4_writer, *arguments)
    assert said == (2, f"write-ext4: {wrong[1]} is not a number\n")


def test_the_rest_of_a_files_last_block_is_zero(
    ext4_writer: Path, tmp_path: Path, tree: Path
) -> None:
    image = written(ext4_writer, empty(tmp_path / "image", *FORMS[0]), tree)
    for name in ("tiny", "large"):
        size = (tree / name).stat().st_size
        listed = tool("debugfs", "-R", f"blocks /{name}", f"{image}?offset={OFFSET}").split()
        assert len(listed) == -(-size // 4096)
        with image.open("rb") as file:
            file.seek(OFFSET + int(listed[-1]) * superblock(image, offset=OFFSET).block)
            assert file.read(4096)[size % 4096 :] == bytes(4096 - size % 4096)


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_a_tree_that_does_not_fit_is_an_error(
    ext4_writer: Path, tmp_path: Path, form: tuple[str, ...]
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "huge").open("wb") as file:
        file.truncate(SIZE)
    image = empty(tmp_path / "image", *form)
    status, said = refusal(ext4_writer, image, str(OFFSET), tree, str(EPOCH))
    assert status == 1
    assert said.startswith(f"write-ext4: {tree}/huge: Could not allocate block")


def test_an_image_without_a_filesystem_is_refused(
    ext4_writer: Path, tmp_path: Path, tree: Path
) -> None:
    (tmp_path / "image").write_bytes(bytes(MIB))
    status, said = refusal(ext4_writer, tmp_path / "image", "0", tree, str(EPOCH))
    assert status == 1
    assert said.startswith(f"write-ext4: {tmp_path}/image: Bad magic number in super-block")


@pytest.mark.parametrize(
    ("mtime", "written_as"),
    [
        (-(2**31) - 5, -(2**31)),
        (-1, -1),
        (2**31, 2**31),
        (3 * 2**32 - 2**31, 3 * 2**32 - 2**31 - 1),
        (2**34 - 2**31 - 1, 3 * 2**32 - 2**31 - 1),
        (2**40, 3 * 2**32 - 2**31 - 1),
    ],
)
def test_times_stay_within_what_e2fsck_keeps(
    ext4_writer: Path, tmp_path: Path, mtime: int, written_as: int
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("")
    os.utime(tmp_path / "tree/file", ns=(0, mtime * 10**9))
    image = written(ext4_writer, empty(tmp_path / "image", *FORMS[0]), tmp_path / "tree")
    tool("e2fsck", "-f", "-p", f"{image}?offset={OFFSET}", environment={"E2FSCK_TIME": str(EPOCH)})
    with Ext4(image, offset=OFFSET) as filesystem:
        found = filesystem.find("/file")
        assert found
        assert found.mtime == written_as * 10**9


@pytest.fixture(scope="module")
def few_links(tmp_path_factory: pytest.TempPathFactory, ext4_writer: Path) -> Path:
    """The program, compiled with a limit of four names of a file."""
    del ext4_writer  # skips without a compiler
    entry = tmp_path_factory.mktemp("few-links")
    (entry / "files").mkdir()
    tool(*compilation(entry / "files" / WRITER), "-DMOST_LINKS=4")
    return entry


def test_a_file_has_no_more_names_than_ext4_allows(few_links: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "1").write_text("")
    for number in (2, 3, 4):
        (tree / str(number)).hardlink_to(tree / "1")
    image = written(few_links, empty(tmp_path / "image", *FORMS[0]), tree)
    tool("e2fsck", "-f", "-n", f"{image}?offset={OFFSET}")
    (tree / "5").hardlink_to(tree / "1")
    said = objection(few_links, empty(image, *FORMS[0]), tree)
    assert said == "5: exceeds the limit of 4 names of a file"


def test_a_directory_with_many_directories_has_one_link(few_links: Path, tmp_path: Path) -> None:
    """As the feature dir_nlink requires."""
    tree = tmp_path / "tree"
    for name in ("few/1", "few/2", "many/1", "many/2", "many/3", "many/3/below"):
        (tree / name).mkdir(parents=True)
    image = written(few_links, empty(tmp_path / "image", *FORMS[0]), tree)
    with Ext4(image, offset=OFFSET) as filesystem:
        links = {name: filesystem.find(name) for name in ("/", "/few", "/many", "/many/3")}
        assert [inode and inode.links for inode in links.values()] == [1, 4, 1, 3]
    form = ("-b", "4096", "-O", ALL.replace(",dir_nlink", ""))
    (tree / "many").rename(tree / "few/2/many")
    assert objection(few_links, empty(image, *form), tree) == (
        "few/2/many/3: exceeds the limit of 2 subdirectories, since the filesystem lacks the feature "
        "dir_nlink"
    )


def test_lost_and_found_is_a_directory(ext4_writer: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/lost+found").write_text("any name may be anything")
    image = written(ext4_writer, empty(tmp_path / "image", *FORMS[0]), tree)
    tool("e2fsck", "-f", "-n", f"{image}?offset={OFFSET}")
    (tree / "sub/lost+found").rename(tree / "lost+found")
    said = objection(ext4_writer, empty(image, *FORMS[0]), tree)
    assert said == "lost+found: is not a directory: ext4 reserves this name for e2fsck's directory"


def test_attributes_need_a_feature(ext4_writer: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("")
    os.setxattr(tree / "file", "user.note", b"n")
    form = ("-b", "4096", "-O", ALL.replace(",ext_attr", ""))
    assert objection(ext4_writer, empty(tmp_path / "image", *form), tree) == (
        "file: has extended attributes, for which the filesystem lacks the feature ext_attr"
    )


def test_the_target_of_a_link_fits_into_a_block(ext4_writer: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to("x" * 1023)
    image = written(ext4_writer, empty(tmp_path / "image", *FORMS[1]), tree)
    (tree / "longer").symlink_to("x" * 1024)
    said = objection(ext4_writer, empty(image, *FORMS[1]), tree)
    assert said == "longer: is a link to a path of more than 1023 bytes"


class Deep:
    """A tree of nested directories, which only rm can remove."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.tree.mkdir()
        self._lowest = os.open(tree, os.O_PATH)

    def add(self, count: int) -> None:
        for _ in range(count):
            os.mkdir("d", dir_fd=self._lowest)
            below = os.open("d", os.O_PATH, dir_fd=self._lowest)
            os.close(self._lowest)
            self._lowest = below

    def remove(self) -> None:
        os.close(self._lowest)
        tool("rm", "-r", self.tree)


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Deep]:
    made = Deep(tmp_path / "tree")
    yield made
    made.remove()


def test_directories_may_lie_deep(ext4_writer: Path, tmp_path: Path, deep: Deep) -> None:
    """As deep as a path can name, with few open files and the default stack."""
    image = empty(tmp_path / "image", *FORMS[0])
    command = [*map(str, (ext4_writer / "files" / WRITER, image, OFFSET, deep.tree, EPOCH))]
    deep.add(2048)
    tool("sh", "-c", 'ulimit -n 64 && ulimit -s 8192 && exec "$@"', "sh", *command)
    tool("e2fsck", "-f", "-n", f"{image}?offset={OFFSET}")
    deep.add(1)
    said = objection(ext4_writer, empty(image, *FORMS[0]), deep.tree)
    assert said == "write-ext4: .../d: is nested deeper than a path can name"


def test_a_large_directory_takes_no_longer_than_its_names(
    ext4_writer: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "large").mkdir(parents=True)
    (tree / "large/0").write_text("")
    names = {f"a name of {'very ' * (number % 9)}many: {number}" for number in range(20_000)}
    for name in names:
        (tree / "large" / name).hardlink_to(tree / "large/0")
    image = empty(tmp_path / "image", *FORMS[0])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    written(ext4_writer, image, tree)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 0.5  # s; reading the directory for each name took 3
    tool("e2fsck", "-f", "-n", f"{image}?offset={OFFSET}")
    with Ext4(image, offset=OFFSET) as filesystem:
        found = filesystem.find("/large")
        assert found
        assert {name.decode() for name in filesystem.entries(found.number)} == {"0", *names}
