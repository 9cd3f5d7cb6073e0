# SPDX-License-Identifier: MIT
"""Untrusted trees and archives: no access outside of them."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from builder.errors import BuildError, StepError, UserError
from builder.untrusted.tree import ForeignTree, member, read_bounded

SECRET = b"of this machine"


@pytest.fixture
def tree(tmp_path: Path) -> ForeignTree:
    """A tree with links that lead outside, beside a directory with a secret."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_bytes(b"inside")
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    (root / "out").symlink_to(outside)
    (root / "up").symlink_to("../" * 20 + str(outside).lstrip("/"))
    (root / "secret").symlink_to(outside / "secret")
    (root / "link").symlink_to("/a/b")
    (root / "nowhere").symlink_to("/not/there")
    os.mkfifo(root / "fifo")
    return ForeignTree(root)


@pytest.mark.parametrize("name", ["a/b", "x", "./a", "a//b", "a/./b"])
def test_names_of_members_that_stay_inside_are_taken(name: str) -> None:
    assert ".." not in member(name).parts
    assert not member(name).is_absolute()


@pytest.mark.parametrize(
    "name", ["/a", "//a", "..", "../a", "a/../../b", "a/..", "", ".", "./", "a\0b", "x" * 5000]
)
def test_names_of_members_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(UserError):
        member(name)


def test_a_file_is_read_up_to_a_limit() -> None:
    assert read_bounded(io.BytesIO(b"1234"), "f", most=4) == b"1234"
    with pytest.raises(UserError, match="f: larger than"):
        read_bounded(io.BytesIO(b"12345"), "f", most=4)


@pytest.mark.parametrize("path", ["out/secret", "up/secret", "secret", "link/../../out/secret"])
def test_nothing_outside_is_read(tree: ForeignTree, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        tree.read(path)
    assert not tree.exists(path)
    assert tree.names("out") == []
    assert [*tree.glob("out/*")] == []


@pytest.mark.parametrize(
    "act",
    [
        lambda tree: tree.write("out/secret", b"broken", mode=0o644),
        lambda tree: tree.write("secret", b"broken", mode=0o644),
        lambda tree: tree.make_directory("out/new"),
        lambda tree: tree.link("up/secret", "/broken"),
        lambda tree: tree.touch("secret"),
        lambda tree: tree.remove("out/secret"),
        lambda tree: tree.remove("out"),
        lambda tree: tree.remove("a"),
        lambda tree: tree.set_mode("secret", 0o777),
        lambda tree: tree.give("up/secret", os.getuid(), os.getgid()),
    ],
)
def test_nothing_outside_is_changed(
    tree: ForeignTree, tmp_path: Path, act: Callable[[ForeignTree], object]
) -> None:
    secret = tmp_path / "outside/secret"

    def facts() -> tuple[int, ...]:
        status = secret.stat()
        return status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns

    before = facts()
    (tmp_path / "root/a/out").symlink_to(tmp_path / "outside")
    with suppress(FileNotFoundError):  # as it is for a program in the tree
        act(tree)
    assert secret.read_bytes() == SECRET
    assert facts() == before
    assert os.listdir(tmp_path / "outside") == ["secret"]  # noqa: PTH208


def test_paths_are_found_as_in_the_tree(tree: ForeignTree) -> None:
    assert tree.read("/link/file") == b"inside"
    assert str(tree.inside("link/file")) == "a/b/file"
    assert str(tree.inside("link")) == "a/b"
    assert str(tree.inside("link", follow=False)) == "link"
    assert [*tree.glob("a/*/f*")] == ["/a/b/file"]
    assert [*tree.glob("/l*/file")] == ["/link/file"]
    assert tree.is_directory("link")
    assert tree.is_link("link")
    assert not tree.is_link("a/b")
    assert not tree.exists("nowhere")


def test_what_is_no_plain_file_is_not_read(tree: ForeignTree) -> None:
    for path in ("fifo", "a"):
        with pytest.raises((StepError, OSError)):
            tree.read(path)
    with pytest.raises(StepError, match="at most 0 MiB"):
        tree.read("a/b/file", most=3)


def test_a_walk_follows_no_link(tree: ForeignTree) -> None:
    found = dict(tree.walk())
    assert {"/a/b/file", "/fifo", "/out", "/secret"} <= {*found}
    assert not [path for path in found if path.startswith(("/out/", "/up/", "/link/"))]
    assert stat.S_ISLNK(found["/out"].st_mode)


def test_a_part_of_a_tree_is_a_tree(tree: ForeignTree) -> None:
    assert [path for path, _ in tree.below("link").walk()] == ["/file"]
    with pytest.raises(FileNotFoundError):
        tree.below("out")


def test_a_link_to_nothing_is_made_where_it_leads(tree: ForeignTree, tmp_path: Path) -> None:
    tree.touch("nowhere")
    assert (tmp_path / "root/not/there").read_bytes() == b""
    tree.touch("a/b/file")
    assert tree.read("a/b/file") == b"inside", "what is there stays"


def test_directories_that_are_files_are_errors_of_the_step(tree: ForeignTree) -> None:
    with pytest.raises(BuildError, match=r"a/b/file/x: a part of it is not a directory"):
        tree.write("a/b/file/x", b"", mode=0o644)
    with pytest.raises(BuildError, match="a/b/file should be a directory"):
        tree.make_directory("a/b/file")


def test_no_descriptor_is_left_open(tree: ForeignTree) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for path in ("link/file", "a/b/../b/file", "out/secret", "a/b/file/x", "/a/../../x"):
        tree.exists(path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
