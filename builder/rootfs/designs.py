# SPDX-License-Identifier: MIT
"""PL designs added to a system that has the PYNQ library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from builder.errors import UserError
from builder.rootfs.layers import MountedRoot, layer_stack
from builder.spec.overlays import NOTEBOOKS, Design
from builder.steps.step import ROOT_FILESYSTEM, Job, Step
from builder.untrusted.tree import ForeignTree

_OVERLAYS = "overlays"
# Directories of packages in PYNQ's releases: a virtual environment since 2.7, before it Debian's.
_PLACES = (
    "usr/local/share/pynq-venv/lib/python3*/site-packages",
    "usr/local/lib/python3*/dist-packages",
    "usr/local/lib/python3*/site-packages",
    "usr/lib/python3/dist-packages",
)
_USERS_NOTEBOOKS = "home/*/jupyter_notebooks"


class Designs(Step):
    """A layer with PL designs, installed where `pynq.Overlay` finds them.

    They replace designs of the same name. A design's `notebooks/` are copied to the user's
    notebooks.
    """

    capabilities = ROOT_FILESYSTEM

    def __init__(
        self, designs: Sequence[Design], *, below: Sequence[Step], epoch: int, scope: str
    ) -> None:
        super().__init__("overlays", scope=scope, parents={step.name: step for step in below})
        self.designs = tuple(designs)
        self.below = [step.name for step in below]
        self.epoch = epoch

    def settings(self) -> Mapping[str, object]:
        return {
            "epoch": self.epoch,
            "files": {design.name: [str(file) for file in design.files] for design in self.designs},
        }

    def files(self) -> Sequence[Path]:
        return [design.directory / file for design in self.designs for file in design.files]

    def run(self, job: Job) -> None:
        stack = layer_stack(job)
        below = [job.entry(name) for name in self.below]
        with stack.mounted(below, log=job.log) as root:
            self._install(job, root)
            stack.save(root, job.output, epoch=self.epoch, log=job.log)

    def _install(self, job: Job, root: MountedRoot) -> None:
        tree = root.files
        package = library(tree)
        if package is None or not tree.is_directory(f"{package}/{_OVERLAYS}"):
            raise UserError(
                "the image has no PYNQ library, which PL designs need",
                hint="add the library: --recipe pynq",
            )
        overlays = f"{package}/{_OVERLAYS}"
        notebooks = _only(tree, [_USERS_NOTEBOOKS])
        for design in self.designs:
            target = f"{overlays}/{design.name}"
            job.say(f"{design.name}: {'replacing' if tree.exists(target) else 'adding'} {target}")
            tree.remove(target)
            _copy(design, _library_files(design), tree, target, like=overlays)
            own = [file for file in design.files if file.parts[0] == NOTEBOOKS]
            if own and notebooks:
                target = f"{notebooks}/{design.name}"
                _copy(design, own, tree, target, like=notebooks, below=Path(NOTEBOOKS))
            elif own:
                job.say(
                    f"{design.name}: skipping its notebooks: no user of the image has notebooks"
                )


def library(tree: ForeignTree) -> str | None:
    """Return the directory of the PYNQ library in a root filesystem; None if there is none."""
    return _only(tree, [f"{place}/pynq" for place in _PLACES])


def _library_files(design: Design) -> list[Path]:
    """Return the files of a design that belong into the library."""
    return [file for file in design.files if file.parts[0] != NOTEBOOKS]


def _only(tree: ForeignTree, patterns: Sequence[str]) -> str | None:
    """Return the first directory of the tree that matches one of the patterns."""
    for pattern in patterns:
        for path in tree.glob(pattern):
            if tree.is_directory(path) and not tree.is_link(path):
                return path
    return None


def _copy(
    design: Design,
    files: Sequence[Path],
    tree: ForeignTree,
    target: str,
    *,
    like: str,
    below: Path = Path(),
) -> None:
    """Copy files of a design below a directory, with owner and group of the directory `like`."""
    status = tree.status(like)
    user, group = status.st_uid, status.st_gid
    for file in files:
        place = PurePosixPath(target, file.relative_to(below))
        missing = [folder for folder in place.parents if not tree.exists(folder)]
        for folder in reversed(missing):
            tree.make_directory(folder)
            tree.give(folder, user, group)
        tree.write(place, (design.directory / file).read_bytes(), mode=0o644)
        tree.give(place, user, group)
