# SPDX-License-Identifier: MIT
"""Made-up cards: small images with two partitions, made without root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

MIB = 1 << 20
START = 1 * MIB
BOOT = 16 * MIB
ROOT = 24 * MIB

# What PYNQ's images say of themselves, and Debian's.
PYNQ = 'NAME="PynqLinux"\nID=pynqlinux\nID_LIKE=debian\nVERSION_ID="3.1"\nPRETTY_NAME="PynqLinux 3.1"\n'
DEBIAN = 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n'
ARM = b"\x7fELF\x01\x01\x01" + bytes(11) + (40).to_bytes(2, "little")
ARM64 = b"\x7fELF\x02\x01\x01" + bytes(11) + (183).to_bytes(2, "little")

STATUS = """\
Package: dpkg
Status: install ok installed
Architecture: armhf
Version: 1.21.1

Package: gone
Status: deinstall ok config-files
Architecture: armhf
Version: 1
"""


def tool(
    *words: str | Path,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    **_: object,
) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        input=stdin,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def system(folder: Path, *, os_release: str = PYNQ, shell: bytes = ARM) -> Path:
    """Make the tree of a small system."""
    for name, content in {
        "usr/lib/os-release": os_release.encode(),
        "etc/apt/sources.list": b"deb http://ports.invalid/ubuntu jammy-updates main\n",
        "etc/apt/sources.list.d/more.sources": b"Types: deb\nSuites: jammy jammy-security\n",
        "var/lib/dpkg/status": STATUS.encode(),
        "etc/fstab": b"# none\n/dev/mmcblk0p1 /boot auto defaults 0 0\n",
        "usr/bin/dash": shell,
        "usr/bin/python3.10": b"",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "etc/os-release").symlink_to("../usr/lib/os-release")
    (folder / "boot").mkdir()
    (folder / "bin").symlink_to("usr/bin")
    (folder / "usr/bin/sh").symlink_to("dash")
    (folder / "usr/bin/python3").symlink_to("python3.10")
    return folder


def ext4(
    path: Path,
    tree: Path,
    *options: str,
    size: int = ROOT,
    commands: Sequence[str] = (),
    offset: int = 0,
) -> Path:
    """Make a filesystem of a tree, then let debugfs do the rest: it needs no root for that."""
    if not offset:
        path.touch()
        with path.open("r+b") as file:
            file.truncate(size)
    where = ("-E", f"offset={offset},nodiscard")
    tool(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "PYNQ_ROOT", *where, *options),
        *("-d", tree, path, f"{size // 1024}k"),
    )
    if commands:
        script = "\n".join(commands) + "\n"
        tool("debugfs", "-w", "-f", "/dev/stdin", f"{path}?offset={offset}", stdin=script)
    return path


def card(path: Path, tree: Path, *options: str, revision: str = "", types: str = "c 83") -> Path:
    """Make a card as others than this builder would: another layout, other labels."""
    with path.open("wb") as file:
        file.truncate(START + BOOT + ROOT)
    first, second = types.split()
    tool(
        *("sfdisk", "--quiet", path),
        stdin=f"label: dos\nlabel-id: 0x12345678\n"
        f"start={START // 512}, size={BOOT // 512}, type={first}, bootable\n"
        f"start={(START + BOOT) // 512}, size={ROOT // 512}, type={second}\n",
    )
    tool(
        *("mkfs.vfat", "--offset", str(START // 512), "-n", "BOOT", "-i", "cafe0001"),
        *(path, str(BOOT // 1024)),
    )
    (path.parent / "BOOT.BIN").write_bytes(b"first stage")
    (path.parent / "REVISION").write_text(revision or "Release 2024_01\n")
    for name in ("BOOT.BIN", "REVISION"):
        tool("mcopy", "-i", f"{path}@@{START}", path.parent / name, f"::/{name}")
    ext4(path, tree, *options, offset=START + BOOT)
    return path
