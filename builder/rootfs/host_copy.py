# SPDX-License-Identifier: MIT
"""A disposable copy of the host, in which the host scripts of an sdbuild package run.

These scripts change the host by sudo as they like. The copy is an overlay over the host's root
directory. It contains only the files of the root directory's filesystem, the package, the root
filesystem that is built, and a `sudo` without passwords.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from builder.rootfs.layers import CAPABILITIES, MountedRoot, layer_stack
from builder.rootfs.target import Target
from builder.spec.legacy import SCRIPTS, board_files, package_directory
from builder.spec.models import Architecture
from builder.spec.recipe import Legacy

ROOTDIR = PurePosixPath("/pynq/sdbuild")
"""sdbuild's own directory, as the scripts see it."""

BOARDDIR = PurePosixPath("/pynq/boards")
"""The directory of boards, as the scripts see it."""

TARGET = ROOTDIR / "build/rootfs"
"""The root filesystem, as `pre.sh` and `post.sh` see it."""

_ARCH = {Architecture.ARMHF: "arm", Architecture.ARM64: "aarch64"}

_SUDO = """\
#!/bin/sh
# Replaces sudo: the caller is root already.
while :; do
    case ${1-} in
        -u | -g | --user | --group)
            [ "${2-}" = root ] || { echo "sudo: the only user is root, not ${2-}" >&2; exit 1; }
            shift 2 ;;
        --) shift; break ;;
        -*) shift ;;
        *) break ;;
    esac
done
exec env -- "$@"
"""


@dataclass(frozen=True, kw_only=True)
class SdbuildPackage:
    """A package of PYNQ's sdbuild.

    recipe: directory of the recipe that has it.
    legacy: its settings in the recipe.
    board: the board's name in sdbuild.
    """

    recipe: Path
    legacy: Legacy
    board: str

    @property
    def directory(self) -> Path:
        """The package's directory."""
        return package_directory(self.recipe, self.legacy)

    @property
    def scripts(self) -> list[str]:
        """The names of its scripts, in the order in which sdbuild runs them."""
        return [name for name in SCRIPTS if (self.directory / name).is_file()]

    @property
    def place(self) -> PurePosixPath:
        """The package's directory, as the scripts see it."""
        name = PurePosixPath(self.legacy.package).name
        return BOARDDIR / self.board / "packages" / name

    @property
    def files(self) -> dict[PurePosixPath, Path]:
        """The files and directories that the scripts may read, by their paths for the scripts."""
        of_board = board_files(self.recipe, self.legacy)
        return {
            self.place: self.directory,
            **{BOARDDIR / self.board / name: path for name, path in of_board.items()},
        }

    def environment(self, architecture: Architecture) -> dict[str, str]:
        """Return sdbuild's variables, except those of ccache and of prebuilt files."""
        arch = _ARCH[architecture]
        return {
            "ARCH": arch,
            "BOARDDIR": str(BOARDDIR),
            "BUILD_ROOT": str(ROOTDIR / "build"),
            "CFLAGS": "",
            "CPPFLAGS": "",
            "FPGA_MANAGER": "1",
            "PACKAGE_PATH": str(self.place.parent),
            "PYNQ_BOARD": self.board,
            "PYNQ_BOARDDIR": str(BOARDDIR / self.board),
            "QEMU_EXE": f"/usr/bin/qemu-{arch}-static",
            "ROOTDIR": str(ROOTDIR),
        }


@contextmanager
def host_copy(target: Target, package: SdbuildPackage) -> Iterator[list[str]]:
    """Create a copy of the host; return the argument prefix that runs a command in it.

    All changes to the copy are discarded, except those to the target.
    """
    job, workspace = target.job, target.root.workspace
    # On a separate filesystem: an overlay's upper directory may not lie below its lower one.
    base = workspace.directory / "machine"
    copy, upper, work = (base / name for name in ("root", "upper", "work"))
    job.run(workspace, "mkdir", base)
    job.run(workspace, "mount", "-t", "tmpfs", "machine", base)
    try:
        job.run(workspace, "mkdir", copy, upper, work)
        options = f"lowerdir=/,upperdir={upper},workdir={work}"
        job.run(workspace, "mount", "-t", "overlay", "-o", options, "overlay", copy)
        place = copy / TARGET.relative_to("/")
        job.run(workspace, "mkdir", "-p", place)
        _populate(target, package, copy)
        machine = MountedRoot(path=copy, changes=upper, workspace=workspace)
        job.run(workspace, "mount", "--rbind", target.root.path, place)
        try:
            yield layer_stack(job).inside(
                machine, capabilities=(*CAPABILITIES, "MKNOD", "SYS_ADMIN"), log=job.log
            )
        finally:
            job.run(workspace, "umount", "--recursive", "--lazy", place)
    finally:
        job.run(workspace, "umount", "--recursive", "--lazy", base)
        job.run(workspace, "rmdir", base)


def _populate(target: Target, package: SdbuildPackage, copy: Path) -> None:
    """Add the files of the package, sudo, and an empty /tmp to the copy of the host."""
    job, workspace = target.job, target.root.workspace
    for path, source in package.files.items():
        place = copy / path.relative_to("/")
        job.run(workspace, "mkdir", "-p", place.parent)
        # Owned by root, not by the caller: scripts may copy them with their owners.
        job.run(workspace, "cp", "-rL", "--preserve=mode", source, place)
    for name in package.scripts:
        job.run(workspace, "chmod", "0755", copy / package.place.relative_to("/") / name)
    sudo = copy / "usr/bin/sudo"
    job.run(workspace, "rm", "-f", sudo)
    workspace.outside(sudo).write_text(_SUDO)
    job.run(workspace, "chmod", "0755", sudo)
    job.run(workspace, "mount", "-t", "tmpfs", "-o", "mode=1777", "tmp", copy / "tmp")
    if package.legacy.network:
        names = copy / "etc/resolv.conf"
        job.run(workspace, "cp", "-L", "--remove-destination", "/etc/resolv.conf", names)
