# SPDX-License-Identifier: MIT
"""Writing files into a root filesystem that is not this machine's."""

from __future__ import annotations

from pathlib import Path

from builder.errors import StepError
from builder.untrusted.tree import ForeignTree


class TargetTree:
    """The tree of a target: paths and names of owners mean what they mean in there."""

    def __init__(self, tree: ForeignTree) -> None:
        self.tree = tree

    def directory(self, path: str, *, mode: int, owner: str, group: str) -> None:
        """Make a directory (and its parents, as root's) with mode and owner."""
        self.tree.make_directory(path)
        self._own(path, mode, owner, group)

    def write(self, path: str, content: bytes, *, mode: int, owner: str, group: str) -> None:
        """Write a file with mode and owner, in place of what was there."""
        self.tree.write(path, content, mode=mode)
        self._own(path, mode, owner, group)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link, in place of what was there."""
        self.tree.link(path, target)

    def copy(self, source: Path, path: str, *, mode: int, owner: str, group: str) -> None:
        """Copy a file, or a directory with all in it; files get `mode`, directories 0755."""
        if not source.is_dir():
            self.write(path, source.read_bytes(), mode=mode, owner=owner, group=group)
            return
        self.directory(path, mode=0o755, owner=owner, group=group)
        for item in sorted(source.iterdir()):
            self.copy(item, f"{path}/{item.name}", mode=mode, owner=owner, group=group)

    def _own(self, path: str, mode: int, owner: str, group: str) -> None:
        self.tree.give(path, self._id("passwd", owner), self._id("group", group))
        self.tree.set_mode(path, mode)  # after chown(2), which may clear set-id bits

    def _id(self, database: str, name: str) -> int:
        if name.isdigit():
            return int(name)
        for line in self.tree.text(f"etc/{database}").splitlines():
            fields = line.split(":")
            if fields[0] == name:
                return int(fields[2])
        what = "user" if database == "passwd" else "group"
        raise StepError(f"the image has no {what} {name}")
