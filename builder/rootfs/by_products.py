# SPDX-License-Identifier: MIT
"""By-products of an image: an archive of its root filesystem, a sysroot for cross compilers."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from builder.rootfs.bootstrap import NEED, Bootstrap
from builder.rootfs.layers import layer_stack
from builder.rootfs.mmdebstrap import keep_downloads, options
from builder.steps.architectures import MACHINES
from builder.steps.layer_archive import LAYER, pack
from builder.steps.step import ROOT_FILESYSTEM, Job, Step
from builder.store.checksum import sha256_once
from builder.untrusted.tree import ForeignTree

SYSROOT = "sysroot"
"""The directory of the sysroot in its archive, beside the files for build systems."""

_DEVELOPMENT = ("libc6-dev", "libcrypt-dev", "linux-libc-dev", "python3-dev", "pkgconf")
# The parts of a root filesystem that programs are compiled and linked against.
_INCLUDED = (
    *("usr/include", "usr/lib", "usr/libexec", "usr/local", "opt", "etc/alternatives"),
    *("usr/share/pkgconfig", "usr/share/cmake", "etc/ld.so.conf", "etc/ld.so.conf.d"),
)
_EXCLUDED = ("usr/lib/firmware", "usr/lib/modules", "usr/lib/udev", "usr/lib/systemd")
_CMAKE = """\
# For a stock cross compiler: cmake -DCMAKE_TOOLCHAIN_FILE=.../toolchain.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR {processor})
set(CMAKE_SYSROOT "${{CMAKE_CURRENT_LIST_DIR}}/{sysroot}")
set(CMAKE_LIBRARY_ARCHITECTURE {triplet})
set(CMAKE_C_COMPILER {triplet}-gcc)
set(CMAKE_CXX_COMPILER {triplet}-g++)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-{emulator}-static;-L;${{CMAKE_SYSROOT}}")
set(ENV{{PKG_CONFIG_SYSROOT_DIR}} "${{CMAKE_SYSROOT}}")
set(ENV{{PKG_CONFIG_LIBDIR}}
    "${{CMAKE_SYSROOT}}/usr/lib/{triplet}/pkgconfig:${{CMAKE_SYSROOT}}/usr/share/pkgconfig")
"""
_EMULATORS = {"armv7l": "arm", "aarch64": "aarch64", "x86_64": "x86_64"}
"""qemu-user's names of processors, by their names in uname(2)."""


class RootArchive(Step):
    """The root filesystem without kernel modules, as `BOARD-rootfs.tar.zst`."""

    capabilities = ROOT_FILESYSTEM

    def __init__(self, board: str, *, layers: Sequence[Step], epoch: int) -> None:
        super().__init__("rootfs", scope=board, parents={step.name: step for step in layers})
        self.board = board
        self.layers = [step.name for step in layers]
        self.epoch = epoch

    def settings(self) -> Mapping[str, object]:
        return {"board": self.board, "epoch": self.epoch}

    def run(self, job: Job) -> None:
        archive = job.output / f"{self.board}-rootfs.tar.zst"
        with layer_stack(job).mounted([job.entry(name) for name in self.layers]) as root:
            pack(root.workspace, root.path, archive, epoch=self.epoch, log=job.log)
        _add_checksum(archive)


class DevelopmentPackages(Step):
    """The image's packages and those needed to compile for it, unpacked as a layer.

    They come from the same indexes as the image's packages and so have the same versions. None of
    their programs or scripts is run.
    """

    packages = ("mmdebstrap",)
    capabilities = ROOT_FILESYSTEM

    def __init__(self, bootstrap: Bootstrap, more: Sequence[str], *, scope: str) -> None:
        super().__init__("development", scope=scope)
        self.archive = bootstrap.archive
        compiler = _compiler(self.archive.versions(["gcc"]).get("gcc", ""))
        own = (*_DEVELOPMENT, *([f"libstdc++-{compiler}-dev"] if compiler else []))
        # Includes the image's packages, so that apt chooses the same among alternative packages.
        self.wanted = sorted({*bootstrap.wanted, *own, *more})

    def settings(self) -> Mapping[str, object]:
        return {
            "distribution": self.archive.distribution.name,
            "architecture": self.archive.architecture.value,
            "archive": dict(self.archive.pockets),
            "apt packages": self.wanted,
        }

    def run(self, job: Job) -> None:
        with job.workspace("development", need=NEED, network=True) as workspace:
            tree = workspace.directory / "tree"
            job.run(
                workspace,
                *("mmdebstrap", "--verbose", "--variant=extract", "--format=directory"),
                f"--include={','.join(self.wanted)}",
                *options(self.archive, job.store, workspace.directory, say=job.say),
                f"--extract-hook={keep_downloads(self.archive, job.store, workspace.directory)}",
                *(self.archive.distribution.model.suite, tree, "-"),
                environment={"TMPDIR": str(workspace.directory)},
                stdin=self.archive.binary_sources(),
            )
            pack(workspace, tree, job.output / LAYER, epoch=self.archive.epoch, log=job.log)


class Sysroot(Step):
    """The sysroot that programs for the image are compiled against, as `BOARD-sysroot.tar.zst`.

    The image's layers are mounted above the packages of `development`, which are unpacked only. The
    archive also contains a `toolchain.cmake` for CMake.
    """

    capabilities = ROOT_FILESYSTEM

    def __init__(
        self, board: str, *, development: DevelopmentPackages, layers: Sequence[Step]
    ) -> None:
        below = [development, *layers]
        super().__init__(SYSROOT, scope=board, parents={step.name: step for step in below})
        self.board = board
        self.below = [step.name for step in below]
        self.archive = development.archive

    def settings(self) -> Mapping[str, object]:
        return {"board": self.board, "epoch": self.archive.epoch}

    def run(self, job: Job) -> None:
        machine = MACHINES[self.archive.architecture]
        archive = job.output / f"{self.board}-sysroot.tar.zst"
        stack = layer_stack(job)
        with stack.mounted([job.entry(name) for name in self.below], log=job.log) as root:
            top = root.changes.parent / "top"
            sysroot = top / SYSROOT
            there = [name for name in _INCLUDED if root.files.exists(name)]
            excluded = [f"--exclude={name}" for name in _EXCLUDED]
            job.run(root.workspace, "mkdir", "-p", sysroot)
            job.run(
                root.workspace,
                *("bash", "-eu", "-o", "pipefail", "-c", _COPY, root.path, sysroot),
                *(*excluded, *there),
            )
            files = ForeignTree(root.workspace.outside(sysroot))
            files.link("lib", "usr/lib")
            relative_links(files)
            root.workspace.outside(top / "toolchain.cmake").write_text(
                _CMAKE.format(
                    processor=machine.uname,
                    triplet=machine.triplet,
                    sysroot=SYSROOT,
                    emulator=_EMULATORS[machine.uname],
                )
            )
            pack(root.workspace, top, archive, epoch=self.archive.epoch, of_root=True, log=job.log)
        _add_checksum(archive)


_COPY = 'from=$0; to=$1; shift; tar -C "$from" -c "$@" | tar -C "$to" -x'


def relative_links(tree: ForeignTree) -> None:
    """Make the absolute symbolic links of a tree relative, so that they stay inside it."""
    links = [path for path, status in tree.walk() if stat.S_ISLNK(status.st_mode)]
    for path in links:
        target = tree.target(path)
        if target.startswith("/"):
            tree.link(path, os.path.relpath(target, PurePosixPath(path).parent))


def _compiler(version: str) -> str | None:
    """Return the major release of GCC, given the version of Debian's package `gcc`."""
    match = re.match(r"(?:\d+:)?(\d+)\.", version)
    return match[1] if match else None


def _add_checksum(path: Path) -> None:
    Path(f"{path}.sha256").write_text(f"{sha256_once(path)}  {path.name}\n")
