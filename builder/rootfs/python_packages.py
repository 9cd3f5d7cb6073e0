# SPDX-License-Identifier: MIT
"""Installation of a recipe's Python packages into a target."""

from __future__ import annotations

from pathlib import Path

from builder.rootfs.target import Target
from builder.rootfs.wheels import COMPILE, COMPILED, INSTALLED, local_packages


def install_wheels(target: Target, wheels: Path, python: str) -> None:
    """Unpack the output of the step `Wheels`, at `wheels`; an existing file is an error.

    The target compiles the byte code if the output holds none. `python` is its version ("3.11").
    """
    target.job.run(
        target.root.workspace,
        *("tar", "--extract", "--numeric-owner", "--same-permissions", "--touch"),
        # Existing directories keep owner and mode.
        *("--keep-old-files", "--use-compress-program=zstd -d -T0"),
        *("--directory", target.root.path, "--file", wheels / INSTALLED),
    )
    if not (wheels / COMPILED).exists():
        target.run("python3", *COMPILE, local_packages(python))
