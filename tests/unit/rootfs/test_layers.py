# SPDX-License-Identifier: MIT
"""Programs of an image, and host scripts that change it, cannot change the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import CommandError
from builder.rootfs.layers import LayerStack, MountedRoot, host_command
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PrivateWorkspace

pytestmark = pytest.mark.usefixtures("needs_root")


@pytest.fixture
def root(tmp_path: Path, processes: Processes) -> Iterator[MountedRoot]:
    """A tree with this machine's programs in it, and a victim beside it."""
    scratch = tmp_path / "scratch"
    tree = scratch / "tree"
    for name in ("etc", "dev", "proc", "usr", "mnt"):
        (tree / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (tree / name).symlink_to(f"usr/{name}")
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/file").write_text("whole")
    (tree / "etc/ssh").symlink_to(tmp_path / "victim")
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        workspace.run(["mount", "--rbind", "/usr", tree / "usr"])
        yield MountedRoot(path=tree, changes=tree, workspace=workspace)


def inside(root: MountedRoot, script: str) -> str:
    words = LayerStack(root.workspace).inside(root)
    return root.workspace.run([*words, "/bin/sh", "-eu", "-c", script])


def test_a_host_script_writes_into_it_and_to_its_own_directory(root: MountedRoot) -> None:
    script = 'echo it > "$0/etc/name"; file=$(mktemp); echo more > "$file"; cat "$file"'
    said = root.workspace.run([*host_command(root), "/bin/sh", "-eu", "-c", script, str(root.path)])
    assert said == "more\n"
    assert (root.path / "etc/name").read_text() == "it\n"


@pytest.mark.parametrize(
    "script",
    ['rm "$0"/etc/ssh/file', 'echo broken > "$0"/etc/ssh/file', 'cp /etc/passwd "$0"/etc/ssh'],
)
def test_a_host_script_changes_nothing_where_its_links_lead(
    root: MountedRoot, tmp_path: Path, script: str
) -> None:
    with pytest.raises(CommandError) as caught:
        root.workspace.run([*host_command(root), "/bin/sh", "-eu", "-c", script, str(root.path)])
    assert any("Read-only file system" in line for line in caught.value.details)
    assert [path.name for path in (tmp_path / "victim").iterdir()] == ["file"]
    assert (tmp_path / "victim/file").read_text() == "whole"


def test_a_program_of_the_tree_sees_the_tree_alone(root: MountedRoot, tmp_path: Path) -> None:
    assert inside(root, f"pwd; ls -d {tmp_path} 2> /dev/null || echo none") == "/\nnone\n"
    # chroot(2) does not change the working directory, from which the way up leads out.
    out = (
        "import os; os.mkdir('/a'); os.chroot('/a'); [os.chdir('..') for _ in range(64)];"
        "os.chroot('.'); print(sorted(os.listdir('/')))"
    )
    seen = root.workspace.run(
        [*LayerStack(root.workspace).inside(root), "/usr/bin/python3", "-c", out]
    )
    assert "victim" not in seen
    assert "etc" in seen
    assert "var" not in seen


@pytest.mark.parametrize(
    "command",
    [
        "mknod /disk b 8 0",
        "mount -t tmpfs none /mnt",
        "mount -o remount,rw /proc",
        "hostname other",
    ],
)
def test_a_program_of_the_tree_has_no_power_over_the_kernel(
    root: MountedRoot, command: str
) -> None:
    with pytest.raises(CommandError):
        inside(root, command)


def test_a_program_of_the_tree_does_what_packages_need(root: MountedRoot) -> None:
    script = """
        echo x > /etc/file
        chown 7:8 /etc/file
        chmod 4755 /etc/file
        stat -c '%u:%g %a' /etc/file
        setpriv --reuid=9 --clear-groups id -u
        echo > /dev/null
    """
    assert inside(root, script) == "7:8 4755\n9\n"
