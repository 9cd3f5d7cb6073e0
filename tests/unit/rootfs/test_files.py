# SPDX-License-Identifier: MIT
"""Files of a target: links and names are the target's, and nothing outside changes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import BuildError, StepError
from builder.rootfs.files import TargetTree
from builder.untrusted.tree import ForeignTree

MODE = 0o644


class Target:
    """A root filesystem beside a directory that must not change."""

    def __init__(self, base: Path) -> None:
        self.root = base / "root"
        self.outside = base / "outside"
        (self.root / "etc").mkdir(parents=True)
        (self.outside / "sub").mkdir(parents=True)
        (self.outside / "file").write_text("outside")
        for path in (self.outside, self.outside / "sub", self.outside / "file"):
            path.chmod(0o711)
        # The names are the target's: `me` is the user who runs the test.
        (self.root / "etc/passwd").write_text(f"root:x:0:0::/:\nme:x:{os.getuid()}:7::/:/bin/sh\n")
        (self.root / "etc/group").write_text(f"root:x:0:\nus:x:{os.getgid()}:me\n")
        self.tree = TargetTree(ForeignTree(self.root))
        self.before = self.state()

    def state(self) -> list[tuple[str, int, int, bytes]]:
        found = []
        for path in sorted([self.outside, *self.outside.rglob("*")]):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found.append((str(path), status.st_mode, status.st_uid, content))
        return found

    def link(self, name: str, target: str | Path) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def write(self, path: str, *, mode: int = MODE) -> None:
        self.tree.write(path, b"new", mode=mode, owner="me", group="us")

    def directory(self, path: str, *, mode: int = 0o755) -> None:
        self.tree.directory(path, mode=mode, owner="me", group="us")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(tmp_path)


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("links", "path", "where"),
    [
        ({}, "/etc/hosts", "etc/hosts"),
        ({}, "etc/hosts", "etc/hosts"),
        ({}, "/etc/../../../etc/hosts", "etc/hosts"),
        ({}, "/new/dir/file", "new/dir/file"),
        ({"lib": "usr/lib"}, "/lib/x", "usr/lib/x"),
        ({"lib": "/usr/lib"}, "/lib/x", "usr/lib/x"),
        ({"a/b": "../c"}, "/a/b/x", "c/x"),
        ({"a/b": "../../../../c"}, "/a/b/x", "c/x"),
        ({"a": "b", "b": "/c", "c/d": "../e"}, "/a/d/x", "e/x"),
        ({"a": "/"}, "/a/etc/x", "etc/x"),
        ({"a": "b/c"}, "/a/../x", "b/x"),
        # The last component is not followed but replaced.
        ({"a": "/etc"}, "/a", "a"),
        ({"a": "/etc"}, "/a/", "a"),
    ],
)
def test_paths_mean_what_they_mean_in_the_target(
    target: Target, links: dict[str, str], path: str, where: str
) -> None:
    for name, to in links.items():
        target.link(name, to)
    target.write(path)
    assert not (target.root / where).is_symlink()
    assert (target.root / where).read_bytes() == b"new"


@pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "/a"}, {"a": "a/x"}])
def test_links_that_go_in_a_circle_are_refused(target: Target, links: dict[str, str]) -> None:
    for name, to in links.items():
        target.link(name, to)
    with pytest.raises(StepError, match=r"^/a/x: too many symbolic links in the image$"):
        target.write("/a/x")


def test_a_link_out_of_the_tree_leads_back_into_it(target: Target) -> None:
    target.link("out", target.outside)
    target.write("/out/file")
    target.directory("/out/sub")
    assert target.state() == target.before
    inside = target.root / target.outside.relative_to("/")
    assert (inside / "file").read_bytes() == b"new"
    assert (inside / "sub").is_dir()


@pytest.mark.parametrize(
    "act",
    [
        lambda target: target.write("/out"),
        lambda target: target.tree.link("/out", "/etc"),
        lambda target: target.tree.copy(
            target.root / "etc/passwd", "/out", mode=MODE, owner="me", group="us"
        ),
    ],
    ids=["write", "link", "copy"],
)
@pytest.mark.parametrize("name", ["", "file", "sub"])
def test_a_link_is_replaced_and_not_written_through(
    target: Target, act: Callable[[Target], None], name: str
) -> None:
    target.link("out", target.outside / name)
    act(target)
    assert target.state() == target.before


@pytest.mark.parametrize(
    "act",
    [
        lambda target: target.directory("/out", mode=0o700),
        lambda target: target.tree.copy(
            target.root / "etc", "/out", mode=MODE, owner="me", group="us"
        ),
    ],
    ids=["directory", "copy of a directory"],
)
def test_a_directory_that_is_a_link_out_of_the_tree_changes_nothing_there(
    target: Target, act: Callable[[Target], None]
) -> None:
    target.link("out", target.outside)
    act(target)
    assert target.state() == target.before


@pytest.mark.parametrize(
    ("links", "made"),
    [
        ({"a": "b"}, "b"),
        ({"a": "/b"}, "b"),
        ({"a": "../../b"}, "b"),
        ({"var/run": "/run"}, "run"),
        ({"x/a": "b"}, "x/b"),
        ({"a": "b", "b": "/c"}, "c"),
    ],
)
def test_a_directory_that_is_a_link_is_made_where_it_points_to(
    target: Target, links: dict[str, str], made: str
) -> None:
    for name, to in links.items():
        target.link(name, to)
    target.directory(f"/{next(iter(links))}", mode=0o700)
    assert permissions(target.root / made) == 0o700
    assert all((target.root / name).is_symlink() for name in links), "links stay"


@pytest.mark.parametrize("links", [{"a": "a"}, {"a": "/b", "b": "a"}])
def test_a_directory_that_is_a_circle_of_links_is_refused(
    target: Target, links: dict[str, str]
) -> None:
    for name, to in links.items():
        target.link(name, to)
    with pytest.raises(StepError, match="too many symbolic links in the image"):
        target.directory("/a")


def test_mode_and_owner_are_set_whatever_the_umask(target: Target) -> None:
    before = os.umask(0o077)
    try:
        target.write("/a/b/file", mode=0o4755)
        target.directory("/c/dir", mode=0o1777)
    finally:
        os.umask(before)
    assert permissions(target.root / "a/b/file") == 0o4755
    assert permissions(target.root / "c/dir") == 0o1777
    assert {permissions(target.root / name) for name in ("a", "a/b", "c")} == {0o755}
    status = (target.root / "a/b/file").stat()
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())


def test_a_directory_that_is_there_gets_mode_and_keeps_content(target: Target) -> None:
    target.write("/d/file")
    target.directory("/d", mode=0o750)
    assert permissions(target.root / "d") == 0o750
    assert (target.root / "d/file").exists()


@pytest.mark.parametrize("before", ["file", "directory", "link"])
def test_what_was_there_is_replaced(target: Target, before: str) -> None:
    place = target.root / "x"
    if before == "file":
        place.write_text("old")
        place.chmod(0o400)
    elif before == "directory":
        (place / "sub").mkdir(parents=True)
    else:
        target.link("x", "nowhere")
    target.write("/x")
    assert place.read_bytes() == b"new"
    assert permissions(place) == MODE
    target.tree.link("/x", "../anything")
    assert str(place.readlink()) == "../anything"


def test_a_tree_is_copied_with_one_mode_for_files(target: Target, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "one").write_text("1")
    (source / "sub/two").write_text("2")
    (source / "sub/two").chmod(0o777)
    target.tree.copy(source, "/opt/it", mode=0o640, owner="me", group="us")
    copied = target.root / "opt/it"
    assert (copied / "sub/two").read_text() == "2"
    assert permissions(copied / "one") == permissions(copied / "sub/two") == 0o640
    assert permissions(copied) == permissions(copied / "sub") == 0o755


@pytest.mark.usefixtures("needs_root")
def test_owners_are_looked_up_in_the_target(target: Target) -> None:
    (target.root / "etc/passwd").write_text("me:x:12345:7::/:\n")
    (target.root / "etc/group").write_text("us:x:54321:\n")
    target.write("/file")
    target.tree.write("/numbers", b"", mode=MODE, owner="11", group="12")
    for name, owner in {"file": (12345, 54321), "numbers": (11, 12)}.items():
        status = (target.root / name).stat()
        assert (status.st_uid, status.st_gid) == owner


@pytest.mark.parametrize(
    ("owner", "group", "message"),
    [
        ("nobody", "us", "the image has no user nobody"),
        ("me", "nogroup", "the image has no group nogroup"),
        ("m", "us", "the image has no user m"),
    ],
)
def test_an_unknown_owner_is_an_error(target: Target, owner: str, group: str, message: str) -> None:
    with pytest.raises(StepError, match=f"^{message}$"):
        target.tree.write("/file", b"", mode=MODE, owner=owner, group=group)


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/passwd/sub"])
def test_a_file_where_a_directory_should_be_is_an_error_of_the_step(
    target: Target, path: str
) -> None:
    with pytest.raises(BuildError, match="/etc/passwd"):
        target.directory(path)
