# SPDX-License-Identifier: MIT
"""What an image must not have: files that others may write, programs that run as root, secrets."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE, S_ISBLK, S_ISCHR, S_ISDIR, S_ISGID, S_ISLNK, S_ISREG, S_ISUID, S_ISVTX

import pytest

from builder.image.image import BOOT_OFFSET
from builder.publish.output import Output

BLOCK = 4096
SECTOR = 512

RUN_AS_ANOTHER = {
    "/usr/bin/chfn": "shadow's own: name and office in /etc/passwd, by password",
    "/usr/bin/chsh": "shadow's own: the login shell, by password",
    "/usr/bin/gpasswd": "members of a group, by its administrators",
    "/usr/bin/mount": "what fstab lets users mount",
    "/usr/bin/newgrp": "a group's rights, by its password",
    "/usr/bin/passwd": "one's own password",
    "/usr/bin/su": "another user, by password",
    "/usr/bin/sudo": "the user's way to root, by password",
    "/usr/bin/umount": "what fstab lets users mount",
    "/usr/bin/chage": "group shadow: when one's own password expires",
    "/usr/bin/expiry": "group shadow: whether one's own password has expired",
    "/usr/bin/ssh-agent": "group _ssh: other processes of the user cannot trace it",
    "/usr/bin/wall": "group tty: a message to the terminals of others",
    "/usr/bin/write": "group tty: a message to the terminals of others",
    "/usr/lib/dbus-1.0/dbus-daemon-launch-helper": "starts services of D-Bus; only D-Bus may run it",
    "/usr/lib/openssh/ssh-keysign": "host-based login; off unless ssh_config switches it on",
    "/usr/lib/polkit-1/polkit-agent-helper-1": "asks for the password of whoever may do something",
    "/usr/libexec/polkit-agent-helper-1": "asks for the password of whoever may do something",
    "/usr/bin/pkexec": "a program as root, as polkit's rules have it",
    "/usr/sbin/unix_chkpwd": "group shadow: checks one's own password",
    "/sbin/unix_chkpwd": "group shadow: checks one's own password",
}
"""Programs with setuid or setgid that were looked at, and what they are for."""

HARMLESS_DEVICES = ("console", "full", "null", "ptmx", "random", "tty", "urandom", "zero")

EXAMPLE_KEYS = re.compile(
    r"/usr/(local/)?(lib|share)/.*(/tests?/|/doc/|example|test_|/testing/|libgnutls\.so).*"
)
"""Files of packages that hold a private key which everybody knows, for tests, self-tests and examples."""

KEY = re.compile(rb"-----BEGIN [A-Z ]+-----\r?\n([A-Za-z-]+: .*\r?\n)*\r?\n?[A-Za-z0-9+/]{32,}")

LEFT_BEHIND = (
    *(r"/var/lib/systemd/(random-seed|credential\.secret)", r"/etc/ssh/ssh_host_.*"),
    *(r".*/\.(bash|python|zsh|sh|lesshs|viminfo|ipython/.*/history).*hist.*", r".*/\.wget-hsts"),
    *(r"/var/lib/dbus/machine-id", r"/(root|home/[^/]+)/\.cache/.*", r"/var/lib/dhcp.*/.*lease.*"),
    *(r"/var/log/.+", r"/(var/)?tmp/.+"),
)
"""Patterns of files that belong to one machine, or tell of the one that built the image."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of the image."""

    path: str
    inode: int
    mode: int
    user: int
    group: int
    size: int


def debugfs(root: Path, commands: Iterable[str]) -> str:
    """Return what debugfs prints, its commands and its complaints about none left out."""
    done = subprocess.run(
        ["debugfs", "-f", "-", root],
        input="".join(f"{each}\n" for each in commands),
        capture_output=True,
        text=True,
        check=True,
        errors="surrogateescape",
    )
    return done.stdout


@pytest.fixture(scope="module")
def root(built: Output, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root partition alone, as a sparse file."""
    path = tmp_path_factory.mktemp("soft-spots") / "root.ext4"
    with built.image.open("rb") as image:
        record = image.read(SECTOR)
    start = int.from_bytes(record[470:474], "little") * SECTOR
    assert start > BOOT_OFFSET
    subprocess.run(
        [
            *("dd", f"if={built.image}", f"of={path}", "bs=1M", f"skip={start >> 20}"),
            *("conv=sparse", "status=none"),
        ],
        check=True,
    )
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def entries(root: Path) -> list[Entry]:
    """All files of the image."""
    found = [Entry(path="", inode=2, mode=0o40755, user=0, group=0, size=0)]
    level = found[:]
    while level:
        below = [*_listed(root, level)]
        found += below
        level = [each for each in below if S_ISDIR(each.mode)]
    assert len(found) > 10_000, "debugfs shows what is there"
    return found


def _listed(root: Path, folders: list[Entry]) -> Iterator[Entry]:
    """Yield what is in directories."""
    said = debugfs(root, (f"ls -p <{each.inode}>" for each in folders))
    _, *parts = re.split(r"^debugfs: .*\n", said, flags=re.MULTILINE)
    for folder, part in zip(folders, parts, strict=True):
        for line in part.splitlines():
            if not line:
                continue
            _, inode, mode, user, group, name, size, _ = line.split("/")
            if name not in {".", ".."} and inode != "0":
                yield Entry(
                    path=f"{folder.path}/{name}",
                    inode=int(inode),
                    mode=int(mode, 8),
                    user=int(user),
                    group=int(group),
                    size=int(size or 0),
                )


def test_nobody_may_write_what_is_not_his(entries: list[Entry]) -> None:
    """But for directories where all may make files of their own, as /tmp."""
    loose = [
        each.path
        for each in entries
        if each.mode & 0o002
        and not S_ISLNK(each.mode)
        and not S_ISCHR(each.mode)
        and not (S_ISDIR(each.mode) and each.mode & S_ISVTX)
    ]
    assert loose == []


def test_no_devices(entries: list[Entry]) -> None:
    """But for those that programs need before the kernel's own /dev lies over this one."""
    found = {each.path for each in entries if S_ISBLK(each.mode) or S_ISCHR(each.mode)}
    assert found <= {f"/dev/{name}" for name in HARMLESS_DEVICES}


def test_all_files_belong_to_users_of_the_image(root: Path, entries: list[Entry]) -> None:
    def numbers(file: str) -> set[int]:
        text = subprocess.check_output(["debugfs", "-R", f"cat {file}", root], text=True)
        return {int(line.split(":")[2]) for line in text.splitlines()}

    users, groups = numbers("/etc/passwd"), numbers("/etc/group")
    strange = [e.path for e in entries if e.user not in users or e.group not in groups]
    assert strange == []


def test_programs_that_run_as_another_are_the_ones_that_were_looked_at(
    entries: list[Entry],
) -> None:
    special = {
        each.path for each in entries if S_ISREG(each.mode) and each.mode & (S_ISUID | S_ISGID)
    }
    assert special - RUN_AS_ANOTHER.keys() == set()
    assert "/usr/bin/sudo" in special, "they are found"


def test_nothing_of_one_machine_is_left_behind(entries: list[Entry]) -> None:
    patterns = [re.compile(each) for each in LEFT_BEHIND]
    left = [
        each.path
        for each in entries
        if S_ISREG(each.mode)
        and each.size
        and any(pattern.fullmatch(each.path) for pattern in patterns)
    ]
    assert not left, left


def test_secrets_are_for_root_alone(entries: list[Entry]) -> None:
    """Password hashes, and what may log in."""
    modes = {each.path: S_IMODE(each.mode) for each in entries}
    assert modes["/etc/shadow"] == modes["/etc/gshadow"] == 0o640
    assert modes["/etc/jupyter/jupyter_server_config.json"] == 0o600


def test_no_private_key(root: Path, entries: list[Entry]) -> None:
    """Found in the bytes of the partition, wherever a file has it."""
    said = subprocess.run(
        ["grep", "-abo", "-E", "-e", "-----BEGIN ([A-Z]+ )*PRIVATE KEY-----", root],
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
    ).stdout
    places = [int(line.partition(":")[0]) for line in said.splitlines()]
    # Programs have the words as well, to look for them.
    with root.open("rb") as image:
        blocks = sorted(
            {at // BLOCK for at in places if KEY.match(os.pread(image.fileno(), 256, at))}
        )
    owners = debugfs(root, [f"icheck {' '.join(map(str, blocks))}"]) if blocks else ""
    inodes = {int(inode) for _, inode in re.findall(r"^(\d+)\t(\d+)$", owners, re.MULTILINE)}
    names = [each.path for each in entries if each.inode in inodes and S_ISREG(each.mode)]
    assert [name for name in names if not EXAMPLE_KEYS.fullmatch(name)] == []
