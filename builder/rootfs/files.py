# SPDX-License-Identifier: MIT
"""Files that a recipe installs into a root filesystem."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from builder.errors import StepError
from builder.rootfs.templates import Renderer
from builder.spec.recipe import FileCopy
from builder.spec.resolve import ResolvedRecipe
from builder.untrusted.tree import ForeignTree


class TargetTree:
    """The files of a target: paths and names of owners are those of the target."""

    def __init__(self, tree: ForeignTree) -> None:
        self.tree = tree

    def directory(self, path: str, *, mode: int, owner: str, group: str) -> None:
        """Create a directory with mode and owner; root owns the parents that are created."""
        self.tree.make_directory(path)
        self._own(path, mode, owner, group)

    def write(self, path: str, content: bytes, *, mode: int, owner: str, group: str) -> None:
        """Write a file with mode and owner; replace an existing one."""
        self.tree.write(path, content, mode=mode)
        self._own(path, mode, owner, group)

    def link(self, path: str, target: str) -> None:
        """Create a symbolic link; replace an existing file."""
        self.tree.link(path, target)

    def copy(self, source: Path, path: str, *, mode: int, owner: str, group: str) -> None:
        """Copy a file or a directory tree; files get `mode`, directories 0755."""
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
        kind = "user" if database == "passwd" else "group"
        raise StepError(f"the image has no {kind} {name}")


class _Place(TypedDict):
    path: str
    mode: int
    owner: str
    group: str


def install_files(recipe: ResolvedRecipe, files: ForeignTree, render: Renderer) -> None:
    """Install the directories, files, rendered templates and links of a recipe."""
    tree = TargetTree(files)
    for directory in recipe.model.directories:
        tree.directory(
            render.text(directory.path),
            mode=int(directory.mode, 8),
            owner=render.text(directory.owner),
            group=render.text(directory.group),
        )
    for file in recipe.model.files:
        tree.copy(recipe.directory / file.source, **_place(file, render))
    for template in recipe.model.templates:
        source = recipe.directory / template.source
        tree.write(content=render.file(source).encode(), **_place(template, render))
    for link in recipe.model.links:
        tree.link(render.text(link.path), render.text(link.target))


def _place(file: FileCopy, render: Renderer) -> _Place:
    return {
        "path": render.text(file.to),
        "mode": int(file.mode, 8),
        "owner": render.text(file.owner),
        "group": render.text(file.group),
    }
