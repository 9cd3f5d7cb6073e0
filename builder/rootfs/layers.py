# SPDX-License-Identifier: MIT
"""A root filesystem as a stack of layers, each the output of one step.

A layer is a tar archive of the files that the step changed, with overlayfs's marks for removed files
(whiteouts: character devices 0/0; opaque directories: trusted.overlay.opaque). An overlayfs mount
of the layers is the tree. All layers are unpacked in one workspace, on tmpfs where memory allows,
once per build and for all steps.
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

# Layers must not depend on the host's overlayfs settings: no optional marks.
_OVERLAY_OPTIONS = "redirect_dir=off,metacopy=off,index=off,xino=off"
_UNPACKED_AT_ONCE = 2
"""tar and zstd of one layer use one and a half cores; the lowest layer is most of the work."""

CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID"),
    *("SETPCAP", "SETUID", "SYS_CHROOT", "AUDIT_WRITE"),
)
"""Capabilities for installing packages: files of many users, and programs as other users."""


@dataclass(frozen=True, kw_only=True)
class MountedRoot:
    """A mounted stack of layers.

    path: the tree, as commands in the workspace see it.
    changes: the directory that gets all changes to the tree.
    workspace: the workspace of the mount.
    native: native programs, mounted below the layers.
    """

    path: Path
    changes: Path
    workspace: Workspace
    native: NativeTree | None = None

    @property
    def files(self) -> ForeignTree:
        """The tree's files, for access from this process."""
        return ForeignTree(self.workspace.outside(self.path))

    def at(self, path: str | PurePosixPath) -> Path:
        """Return a path in the tree, with links resolved, as commands in the workspace see it.

        Raises:
            StepError: the image has no such file.
        """
        try:
            return self.path / self.files.inside(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StepError(f"the image has no {path}") from error


class LayerStack:
    """A workspace in which layers are unpacked and mounted as stacks."""

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
        """Mount `layers` (the lowest first); changes go to a new, empty directory.

        `native` is mounted below them; with it, commands in the tree run natively where possible.
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
        # mount(8) limits its options to 4096 bytes: paths are short and relative to the workspace.
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
        """Return the argument prefix that runs a command confined to a mounted tree, as its root.

        The command has its own /proc and a few devices. Images are untrusted: their programs cannot
        leave the tree and have no capabilities to change the kernel or a device.
        """
        self._check_listing(root, log)
        enter = [f"{root.native.entrance}/enter"] if root.native else []
        return [*_confined(root.path, capabilities), *enter]

    def save(
        self, root: MountedRoot, output: Path, *, epoch: int, log: IO[str] | None = None
    ) -> None:
        """Write the changes of a mounted tree as a layer; later times are set to `epoch` (s)."""
        pack(self.workspace, root.changes, output / LAYER, epoch=epoch, log=log)

    def _check_listing(self, root: MountedRoot, log: IO[str] | None) -> None:
        """Check that the target's programs can list directories.

        On filesystems with 64-bit directory offsets, 32-bit ARM programs under qemu-user silently
        see empty directories (QEMU bug 1805913). Only the first tree is checked.

        Raises:
            HostError: they see another listing than the host does.
        """
        if self._listed:
            return
        seen = self.workspace.run([*_confined(root.path), "/bin/ls", "-1", "/etc"], log=log)
        there = self.workspace.run(["ls", "-1", root.at("etc")])
        if seen.split() != there.split():
            raise HostError(
                "programs of the target cannot list directories in "
                f"{self.workspace.directory}, whose filesystem is not a tmpfs",
                hint="free about 6 GiB of memory, so that the build can use a tmpfs, or put the store "
                "(--store) on a filesystem without hashed directories: mkfs.ext4 -O ^dir_index",
            )
        self._listed = True

    def _unpacked(self, entry: Entry, log: IO[str] | None) -> Path:
        """Unpack a layer once; return its directory. The caller holds the lock."""
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
    """Return the stack of layers that all jobs of a build share."""
    return job.tools.shared(LayerStack)


def host_command(root: MountedRoot) -> list[str]:
    """Return the argument prefix that runs a command of the host that changes a mounted tree.

    The host's own files are read-only, since links in the tree may lead to them. TMPDIR names a
    writable directory.
    """
    own = str(root.workspace.directory)
    temporary = f"{own}/tmp"
    return [
        *("bwrap", "--ro-bind", "/", "/", "--bind", own, own),
        *("--bind", str(root.path), str(root.path), "--dev", "/dev", "--proc", "/proc"),
        *("--dir", temporary, "--setenv", "TMPDIR", temporary),
        *_capability_options(CAPABILITIES),
    ]


def _confined(root: Path, capabilities: Sequence[str] = ()) -> list[str]:
    """Return the argument prefix that runs a command with a tree as its root directory."""
    return [
        *("bwrap", "--bind", str(root), "/", "--dev", "/dev", "--proc", "/proc", "--chdir", "/"),
        *_capability_options(capabilities),
    ]


def _capability_options(capabilities: Sequence[str]) -> list[str]:
    """Return the last options of bwrap(1): the capabilities of the command."""
    kept = [word for each in capabilities for word in ("--cap-add", f"CAP_{each}")]
    return ["--cap-drop", "ALL", *kept, "--"]
