# SPDX-License-Identifier: MIT
"""A root filesystem as a stack of layers, each the output of one step.

A layer is a tar archive of what the step changed, with overlayfs's marks for what it removed
(whiteouts: character devices 0/0; opaque directories: trusted.overlay.opaque). Stacked with
overlayfs they make the tree. All of it lives in one workspace, on tmpfs where memory allows:
each layer is unpacked once a build, however many steps stand on it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from builder.errors import HostError, StepError
from builder.rootfs.native.tree import NativeTree
from builder.sandbox.workspace import Workspace
from builder.steps.layer_archive import LAYER, pack
from builder.steps.step import Job
from builder.store.store import Entry
from builder.untrusted.tree import ForeignTree

# Layers must not depend on how the machine's overlayfs is set up: none of its optional marks.
_OVERLAY_OPTIONS = "redirect_dir=off,metacopy=off,index=off,xino=off"
_UNPACKED_AT_ONCE = 2
"""One layer's tar and zstd keep a core and a half busy, and the lowest is most of the work."""

CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID"),
    *("SETPCAP", "SETUID", "SYS_CHROOT", "AUDIT_WRITE"),
)
"""Capabilities for installing packages: files of many users, and programs as other users."""


@dataclass(frozen=True, kw_only=True)
class MountedRoot:
    """A mounted stack: `path` is the tree as commands in the workspace see it.

    `native` is what lies below it, for commands that run inside.
    """

    path: Path
    changes: Path
    workspace: Workspace
    native: NativeTree | None = None

    @property
    def files(self) -> ForeignTree:
        """The files of the tree, for this process."""
        return ForeignTree(self.workspace.outside(self.path))

    def at(self, path: str | PurePosixPath) -> Path:
        """Return a path of the tree as commands in the workspace see it, its links followed.

        Raises:
            StepError: the image has no such file.
        """
        try:
            return self.path / self.files.inside(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StepError(f"the image has no {path}") from error


class LayerStack:
    """Unpacks layers and mounts stacks of them in `workspace`."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._lock = threading.Lock()
        self._mounts = 0
        self._listed = False

    @contextmanager
    def mounted(
        self,
        layers: Sequence[Entry],
        *,
        native: NativeTree | None = None,
        log: IO[str] | None = None,
    ) -> Iterator[MountedRoot]:
        """Mount the tree of `layers` (the lowest first); changes go to a new, empty directory.

        With `native` below all, commands in the tree run natively where they can.
        """
        with self._lock:
            with ThreadPoolExecutor(_UNPACKED_AT_ONCE) as pool:
                lower = [*pool.map(lambda entry: self._unpacked(entry, log), layers)]
            self._mounts += 1
            base = self.workspace.directory / f"m{self._mounts}"
        upper, work, tree = (base / name for name in ("upper", "work", "root"))
        run = self.workspace.run
        run(["mkdir", "-p", *map(str, (upper, work, tree))], log=log)
        if native:
            lowest = base / "native"
            run(["ln", "-s", native.files, lowest], log=log)
            lower = [lowest, *lower]
        # Only the first layer may set the mode of /; mount's options have 4096 bytes, so the
        # paths are relative to the workspace and short.
        names = ":".join(
            str(path.relative_to(self.workspace.directory)) for path in reversed(lower)
        )
        options = f"lowerdir={names},upperdir={upper},workdir={work},{_OVERLAY_OPTIONS}"
        run(["mount", "-t", "overlay", "-o", options, "overlay", tree], log=log)
        try:
            yield MountedRoot(path=tree, changes=upper, workspace=self.workspace, native=native)
        finally:
            run(["umount", "--lazy", tree], log=log)
            run(["rm", "-rf", base], log=log)

    def inside(
        self,
        root: MountedRoot,
        *,
        capabilities: Sequence[str] = CAPABILITIES,
        log: IO[str] | None = None,
    ) -> list[str]:
        """Return the words that run a command inside a mounted tree, as root of this tree alone.

        It has its own /proc and a few devices. An image may be anybody's: its programs get neither
        out of the tree, nor capabilities with which the kernel or a device could be changed.
        """
        self._check_listing(root, log)
        enter = [f"{root.native.entrance}/enter"] if root.native else []
        return [*_shut_in(root.path, capabilities), *enter]

    def save(
        self, root: MountedRoot, output: Path, *, epoch: int, log: IO[str] | None = None
    ) -> None:
        """Write the changes of a mounted tree as a layer; times after `epoch` (s) become it."""
        pack(self.workspace, root.changes, output / LAYER, epoch=epoch, log=log)

    def _check_listing(self, root: MountedRoot, log: IO[str] | None) -> None:
        """Make sure that the target's programs see what a directory holds.

        On filesystems with 64-bit directory offsets, 32-bit ARM programs under qemu-user take
        directories for empty (QEMU bug 1805913), silently. The first tree tells for all.
        """
        if self._listed:
            return
        seen = self.workspace.run([*_shut_in(root.path), "/bin/ls", "-1", "/etc"], log=log)
        there = self.workspace.run(["ls", "-1", root.at("etc")])
        if seen.split() != there.split():
            raise HostError(
                "programs of the target cannot list directories in "
                f"{self.workspace.directory}, whose filesystem is not a tmpfs",
                hint="free memory, so that the build can use a tmpfs (about 6 GiB), or use "
                "--store on a filesystem such as ext4 made with -O ^dir_index",
            )
        self._listed = True

    def _unpacked(self, entry: Entry, log: IO[str] | None) -> Path:
        """Return where a layer is unpacked; needs the lock, or another may unpack it too."""
        path = self.workspace.directory / entry.key[:10]
        if not self.workspace.outside(path).exists():
            partial = path.with_suffix(".part")
            run = self.workspace.run
            run(["mkdir", partial], log=log)
            run(
                [
                    *("tar", "--extract", "--numeric-owner", "--same-permissions"),
                    *("--xattrs", "--xattrs-include=*", "--use-compress-program=zstd -d -T0"),
                    *("--directory", partial, "--file", entry.files / LAYER),
                ],
                log=log,
            )
            run(["mv", partial, path], log=log)
        return path


def layer_stack(job: Job) -> LayerStack:
    """Return the build's one stack of layers: each layer is unpacked once a build."""
    return job.tools.shared(LayerStack)


def beside(root: MountedRoot) -> list[str]:
    """Return the words that run a command of this machine that works in a mounted tree.

    A link in the tree may lead to any file of the machine: of these, none can be written. For its
    own files a command has a directory in TMPDIR.
    """
    own = str(root.workspace.directory)
    temporary = f"{own}/tmp"
    return [
        *("bwrap", "--ro-bind", "/", "/", "--bind", own, own),
        *("--bind", str(root.path), str(root.path), "--dev", "/dev", "--proc", "/proc"),
        *("--dir", temporary, "--setenv", "TMPDIR", temporary),
        *_limited(CAPABILITIES),
    ]


def _shut_in(root: Path, capabilities: Sequence[str] = ()) -> list[str]:
    """Return the words that run a command with a tree as its whole world."""
    return [
        *("bwrap", "--bind", str(root), "/", "--dev", "/dev", "--proc", "/proc", "--chdir", "/"),
        *_limited(capabilities),
    ]


def _limited(capabilities: Sequence[str]) -> list[str]:
    """Return the last words of bwrap(1)'s: the capabilities that are kept."""
    kept = [word for each in capabilities for word in ("--cap-add", f"CAP_{each}")]
    return ["--cap-drop", "ALL", *kept, "--"]
