# SPDX-License-Identifier: MIT
"""Programs of other architectures: a check that this machine runs them, and qemu-user for them."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from builder.errors import HostError

FOREIGN = {"armhf": "arm", "arm64": "aarch64"}
"""Architectures of boards, with qemu-user's names of them."""

_FORMATS = Path("/usr/lib/binfmt.d")


def runs(architecture: str) -> bool:
    """Return whether programs of an architecture run: arch-test starts one.

    An enabled entry of qemu-user in binfmt_misc would prove nothing.
    """
    done = subprocess.run(["arch-test", architecture], capture_output=True, check=False)
    return done.returncode == 0


def register_binfmt() -> None:
    """Register qemu-user for the boards' programs with the kernel, where they do not run yet.

    Needs CAP_SYS_ADMIN. The kernel keeps the interpreter open (flag F of binfmt_misc), so it works
    in every mount namespace, and after this process has ended.

    Raises:
        HostError: the registration failed, or has no effect.
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
            raise _problem(
                architecture, "qemu-user is registered, but the kernel does not start it"
            )


def _checked(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _problem(" and ".join(FOREIGN), done.stderr.strip())


def _problem(architecture: str, why: str) -> HostError:
    return HostError(
        f"programs for {architecture} do not run: {why}",
        hint="install qemu-user-static and register it with binfmt_misc on the machine itself",
    )
