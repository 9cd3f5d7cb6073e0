# SPDX-License-Identifier: MIT
"""How a layer of a root filesystem is kept: a tar archive that is the same for the same files."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from builder.sandbox.workspace import Workspace

LAYER = "layer.tar.zst"
"""Name of the archive in the output of a step that makes a layer."""


# What overlayfs notes for itself on directories and files that it copied: of no use in another mount.
_EXCLUDED = [f"--xattrs-exclude=trusted.overlay.{name}" for name in ("origin", "impure", "uuid")]


def pack(
    workspace: Workspace,
    tree: Path,
    archive: Path,
    *,
    epoch: int,
    of_root: bool = False,
    log: IO[str] | None = None,
) -> None:
    """Write a directory as a layer, in an order and with times that repeat.

    `of_root`: all in it shall be root's, whoever made it.
    """
    workspace.run(
        [
            *("tar", "--create", "--numeric-owner", "--sort=name", "--format=posix"),
            # Without these, extended headers hold the time of the run (tar's manual, 8.4).
            "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
            *(("--owner=0", "--group=0") if of_root else ()),
            *("--xattrs", "--xattrs-include=*", *_EXCLUDED, f"--mtime=@{epoch}", "--clamp-mtime"),
            *("--use-compress-program=zstd -1 -T0", "--directory", tree, "--file", archive, "."),
        ],
        log=log,
    )
