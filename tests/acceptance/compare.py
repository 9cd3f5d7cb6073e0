# SPDX-License-Identifier: MIT
"""Compares two trees as the kernel shows them, and prints the paths that differ, as JSON.

Run as a program, in a mount namespace of its own: `compare.py IMAGE OFFSET IMAGE OFFSET`.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path


def facts(path: Path) -> tuple[object, ...]:
    """Return all that a file is: kind and mode, owners, time, links, device, attributes, content."""
    status = path.lstat()
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
    }
    content: object = None
    if stat.S_ISREG(status.st_mode):
        content = (status.st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    elif stat.S_ISLNK(status.st_mode):
        content = path.readlink()
    # mke2fs 1.47 keeps times to the second.
    when = status.st_mtime_ns // 10**9
    owners = (status.st_uid, status.st_gid)
    return (status.st_mode, owners, when, status.st_nlink, status.st_rdev, attributes, content)


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Return the facts of all files below a directory."""
    found = {".": facts(root)}
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder) / name
            found[str(path.relative_to(root))] = facts(path)
    return found


def main() -> None:
    """Print which paths are new, gone, or differ, and in what."""
    trees = []
    for image, offset in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        with tempfile.TemporaryDirectory() as place:
            subprocess.run(["mount", "-o", f"loop,ro,offset={offset}", image, place], check=True)
            try:
                trees.append(tree(Path(place)))
            finally:
                subprocess.run(["umount", place], check=True)
    before, after = trees
    names = ("mode", "owners", "time", "links", "device", "attributes", "content")
    print(  # noqa: T201 - what this program is for
        json.dumps(
            {
                "files": len(before),
                "new": sorted(after.keys() - before.keys()),
                "gone": sorted(before.keys() - after.keys()),
                "changed": {
                    path: [
                        name
                        for name, a, b in zip(names, before[path], after[path], strict=True)
                        if a != b
                    ]
                    for path in sorted(before.keys() & after.keys())
                    if before[path] != after[path]
                },
            }
        )
    )


if __name__ == "__main__":
    main()
