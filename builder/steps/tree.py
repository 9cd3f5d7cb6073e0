# SPDX-License-Identifier: MIT
"""Writing files into a root filesystem that is not this machine's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath

from builder.errors import StepError

_MAX_LINKS = 40
"""Symbolic links that a path may go through, as in path_resolution(7)."""


class TargetTree:
    """The tree of a target at `root`: paths and names of owners mean what they mean in there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def resolve(self, path: str) -> Path:
        """Return where a path of the target is on this machine; its last part is not followed.

        Links, also absolute ones, are followed as the target would: they never lead out.

        Raises:
            StepError: links go in a circle.
        """
        todo = list(PurePosixPath(path).parts)
        here = self.root
        links = 0
        while todo:
            part = todo.pop(0)
            if part == "/":
                here = self.root
            elif part == "..":
                here = here.parent if here != self.root else here
            elif todo and (here / part).is_symlink():
                links += 1
                if links > _MAX_LINKS:
                    raise StepError(f"{path}: too many symbolic links in the image")
                todo = [*(here / part).readlink().parts, *todo]
            else:
                here = here / part
        return here

    def directory(self, path: str, *, mode: int, owner: str, group: str) -> None:
        """Make a directory (and its parents, as root's) with mode and owner."""
        target = self._parent(path)
        for _ in range(_MAX_LINKS):
            if not target.is_symlink():
                break
            target = self._parent(self._followed(target))
        else:
            raise StepError(f"{path}: too many symbolic links in the image")
        if target.exists() and not target.is_dir():
            raise StepError(f"{path} is to be a directory, but the image has a file there")
        target.mkdir(exist_ok=True)
        self._own(target, mode, owner, group)

    def _followed(self, link: Path) -> str:
        """Return the target's path of what a link points to."""
        here = PurePosixPath("/") / link.parent.relative_to(self.root)
        return str(here / link.readlink())

    def write(self, path: str, content: bytes, *, mode: int, owner: str, group: str) -> None:
        """Write a file with mode and owner, in place of what was there."""
        target = self._clear(path)
        target.write_bytes(content)
        self._own(target, mode, owner, group)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link, in place of what was there."""
        self._clear(path).symlink_to(target)

    def copy(self, source: Path, path: str, *, mode: int, owner: str, group: str) -> None:
        """Copy a file, or a directory with all in it; files get `mode`, directories 0755."""
        if not source.is_dir():
            self.write(path, source.read_bytes(), mode=mode, owner=owner, group=group)
            return
        self.directory(path, mode=0o755, owner=owner, group=group)
        for item in sorted(source.iterdir()):
            self.copy(item, f"{path}/{item.name}", mode=mode, owner=owner, group=group)

    def _parent(self, path: str) -> Path:
        target = self.resolve(path)
        missing = []
        for parent in target.parents:
            if parent == self.root or parent.is_dir():
                break
            if parent.exists():
                where = parent.relative_to(self.root)
                raise StepError(f"{path}: /{where} is no directory in the image")
            missing.append(parent)
        for parent in reversed(missing):
            parent.mkdir()
            parent.chmod(0o755)
        return target

    def _clear(self, path: str) -> Path:
        target = self._parent(path)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        return target

    def _own(self, target: Path, mode: int, owner: str, group: str) -> None:
        os.chown(target, self._id("passwd", owner), self._id("group", group))
        target.chmod(mode)  # after chown(2), which may clear set-id bits

    def _id(self, database: str, name: str) -> int:
        if name.isdigit():
            return int(name)
        for line in (self.root / "etc" / database).read_text().splitlines():
            fields = line.split(":")
            if fields[0] == name:
                return int(fields[2])
        what = "user" if database == "passwd" else "group"
        raise StepError(f"the image has no {what} {name}")
