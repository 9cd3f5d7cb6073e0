# SPDX-License-Identifier: MIT
"""Archives of layers: tar archives that are identical for identical files."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from builder.sandbox.workspace import Workspace

LAYER = "layer.tar.zst"
"""The file name of the archive in the output of steps that create a layer."""


# Internal marks of overlayfs on copied files and directories; they are valid in one mount only.
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
    """Archive a directory as a layer, reproducibly.

    Args:
        workspace: the workspace in which tar runs.
        tree: the directory.
        archive: path of the new archive.
        epoch: upper bound of modification times, in seconds since 1970.
        of_root: whether root owns all files in the archive, instead of their owners.
        log: gets tar's output.
    """
    workspace.run(
        [
            *("tar", "--create", "--numeric-owner", "--sort=name", "--format=posix"),
            # By default, extended headers contain the time of the run (tar's manual, 8.4).
            "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
            *(("--owner=0", "--group=0") if of_root else ()),
            *("--xattrs", "--xattrs-include=*", *_EXCLUDED, f"--mtime=@{epoch}", "--clamp-mtime"),
            *("--use-compress-program=zstd -1 -T0", "--directory", tree, "--file", archive, "."),
        ],
        log=log,
    )
