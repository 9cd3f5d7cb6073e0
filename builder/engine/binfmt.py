# SPDX-License-Identifier: MIT
"""Programs of other architectures: whether this machine runs them, and making it so."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from builder.errors import HostError

FOREIGN = {"armhf": "arm", "arm64": "aarch64"}
"""Architectures of boards, and what qemu-user calls them."""

_FORMATS = Path("/usr/lib/binfmt.d")


def runs(architecture: str) -> bool:
    """Return whether a program for an architecture runs: arch-test starts a real one.

    That binfmt_misc lists qemu-user as enabled would prove nothing.
    """
    done = subprocess.run(["arch-test", architecture], capture_output=True, check=False)
    return done.returncode == 0


def register_binfmt() -> None:
    """Have the kernel run the boards' programs by qemu-user, if it does not yet.

    Needs CAP_SYS_ADMIN. The kernel keeps the interpreter open (flag F of binfmt_misc), so that it
    is found from everywhere, and after this process is gone.

    Raises:
        HostError: it cannot be done.
    """
    missing = [architecture for architecture in FOREIGN if not runs(architecture)]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as folder:
        _checked("mount", "-t", "binfmt_misc", "binfmt_misc", folder)
        try:
            for architecture in missing:
                name = f"qemu-{FOREIGN[architecture]}"
                old = Path(folder) / name
                if old.exists():
                    old.write_text("-1")  # removes it (the kernel's admin-guide/binfmt-misc)
                try:
                    Path(folder, "register").write_text((_FORMATS / f"{name}.conf").read_text())
                except OSError as error:
                    raise _problem(architecture, str(error)) from error
        finally:
            subprocess.run(["umount", folder], check=False)
    for architecture in missing:
        if not runs(architecture):
            raise _problem(architecture, "qemu-user was registered, and is not started")


def _checked(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _problem(" and ".join(FOREIGN), done.stderr.strip())


def _problem(architecture: str, why: str) -> HostError:
    return HostError(
        f"programs for {architecture} do not run: {why}",
        hint="install qemu-user-static and register it with binfmt_misc on the machine itself",
    )
