# SPDX-License-Identifier: MIT
"""A recipe with a package of PYNQ's sdbuild, whose scripts are used as they are.

sdbuild runs three scripts of a package: `pre.sh` and `post.sh` on the machine that builds, with the
root filesystem's path, and `qemu.sh` in the root filesystem. The former believe that they may do as
they like, by sudo. So they run in a copy of this machine that is thrown away: an overlay on its root
directory, in which there are nothing but the recipe's files, the root filesystem, and a `sudo` that
needs no password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from builder.errors import CommandError
from builder.rootfs.layers import CAPABILITIES, MountedRoot, layer_stack
from builder.rootfs.recipe import RecipeLayer
from builder.spec.legacy import SCRIPTS, board_files, package_directory
from builder.spec.models import Architecture
from builder.spec.recipe import Legacy
from builder.steps.step import Job

ROOTDIR = PurePosixPath("/pynq/sdbuild")
"""sdbuild's own directory, as the scripts see it."""

BOARDDIR = PurePosixPath("/pynq/boards")
"""The directory of boards, as the scripts see it."""

TARGET = ROOTDIR / "build/rootfs"
"""The root filesystem, as `pre.sh` and `post.sh` see it."""

_ARCH = {Architecture.ARMHF: "arm", Architecture.ARM64: "aarch64"}

_UNKNOWN = "Unknown"
"""sdbuild's name of the board for root filesystems that are for all boards."""

_SUDO = """\
#!/bin/sh
# Stands in for sudo: who calls it is root already.
while :; do
    case ${1-} in
        -u | -g | --user | --group)
            [ "${2-}" = root ] || { echo "sudo: only root is here, no ${2-}" >&2; exit 1; }
            shift 2 ;;
        --) shift; break ;;
        -*) shift ;;
        *) break ;;
    esac
done
exec env -- "$@"
"""

_OFFLINE = re.compile(
    r"could ?n.t resolve|could not resolve|name resolution|name or service not known"
    r"|network is unreachable|failed to establish a new connection|failed to fetch",
    re.IGNORECASE,
)


class SdbuildPackageLayer(RecipeLayer):
    """The layer of a recipe that runs a package of sdbuild's in the tree of the layers below."""

    @property
    def legacy(self) -> Legacy:
        """The package."""
        assert self.recipe.model.legacy, "the step is chosen for recipes that have one"
        return self.recipe.model.legacy

    def files(self) -> Sequence[Path]:
        directory = self.recipe.directory
        read = board_files(directory, self.legacy).values()
        return [*super().files(), package_directory(directory, self.legacy), *read]

    def _scripts(self, job: Job, root: MountedRoot, inside: Sequence[str]) -> None:
        super()._scripts(job, root, inside)
        package = package_directory(self.recipe.directory, self.legacy)
        present = [name for name in SCRIPTS if (package / name).is_file()]
        with self._runtime(job, root), self._machine(job, root) as machine:
            for name in present:
                if name == "qemu.sh":
                    root.files.write(name, (package / name).read_bytes(), mode=0o644)
                    self._run(job, root, name, [*inside, "/bin/bash", name])
                    root.files.remove(name)
                else:
                    script = self._inside / name
                    # As a shell starts it, that is by bash if it names no interpreter.
                    start = ["bash", "-c", 'cd "$1" && exec "$0" "$2"', str(script)]
                    self._run(job, root, name, [*machine, *start, str(ROOTDIR), str(TARGET)])

    @property
    def _board(self) -> str:
        return self.board.board if self.recipe.model.board_specific else _UNKNOWN

    @property
    def _inside(self) -> PurePosixPath:
        """The package's directory, as scripts see it."""
        return BOARDDIR / self._board / "packages" / PurePosixPath(self.legacy.package).name

    def _environment(self) -> dict[str, str]:
        """Return sdbuild's environment too, but for what there is not: ccache, prebuilt files."""
        arch = _ARCH[self.archive.architecture]
        return {
            **super()._environment(),
            "ARCH": arch,
            "BOARDDIR": str(BOARDDIR),
            "BUILD_ROOT": str(ROOTDIR / "build"),
            "CFLAGS": "",
            "CPPFLAGS": "",
            "FPGA_MANAGER": "1",
            "PACKAGE_PATH": str(self._inside.parent),
            "PYNQ_BOARD": self._board,
            "PYNQ_BOARDDIR": str(BOARDDIR / self._board),
            "QEMU_EXE": f"/usr/bin/qemu-{arch}-static",
            "ROOTDIR": str(ROOTDIR),
        }

    def _run(self, job: Job, root: MountedRoot, name: str, argv: Sequence[str]) -> None:
        try:
            root.workspace.run(
                argv,
                environment=self._environment(),
                network=self.legacy.network,
                log=job.log,
                on_line=job.on_line,
            )
        except CommandError as error:
            offline = not self.legacy.network and any(map(_OFFLINE.search, error.details))
            raise CommandError(
                f"{name} of sdbuild's package {self._inside.name} ended with status {error.status}",
                replay=error.replay,
                status=error.status,
                details=error.details,
                hint="it wants the network, and scripts have none: name what it fetches in "
                f"{self.recipe.directory}/recipe.yaml (apt, pip, downloads), or say there "
                "`network: true` under `legacy`, for an image that nobody can make again"
                if offline
                else error.hint,
            ) from error

    @contextmanager
    def _runtime(self, job: Job, root: MountedRoot) -> Iterator[None]:
        """Give the root filesystem an empty /run, and with the network the way to names."""
        workspace, run = root.workspace, root.at("run")
        job.run(workspace, "mount", "-t", "tmpfs", "-o", "mode=0755", "run", run)
        try:
            if self.legacy.network:
                with self._resolver(job, root):
                    yield
            else:
                yield
        finally:
            job.run(workspace, "umount", run)

    @contextmanager
    def _resolver(self, job: Job, root: MountedRoot) -> Iterator[None]:
        """Have the machine's resolv.conf(5) stand for the root filesystem's."""
        workspace, name = root.workspace, "etc/resolv.conf"
        made = not root.files.exists(name)
        if made:
            root.files.touch(name)
        file = root.at(name)
        job.run(workspace, "mount", "--bind", "/etc/resolv.conf", file)
        try:
            yield
        finally:
            job.run(workspace, "umount", file)
            if made:
                job.run(workspace, "rm", file)

    @contextmanager
    def _machine(self, job: Job, root: MountedRoot) -> Iterator[list[str]]:
        """Give the words that run a command in a copy of this machine, which is then thrown away.

        Only what is on the filesystem of its root directory is there, and what is put there.
        """
        stack, workspace = layer_stack(job), root.workspace
        # On a filesystem of its own: an overlay's upper directory may not lie below its lower one.
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
            self._furnish(job, root, copy)
            machine = MountedRoot(path=copy, changes=upper, workspace=workspace)
            job.run(workspace, "mount", "--rbind", root.path, place)
            try:
                yield stack.inside(
                    machine, capabilities=(*CAPABILITIES, "MKNOD", "SYS_ADMIN"), log=job.log
                )
            finally:
                job.run(workspace, "umount", "--recursive", "--lazy", place)
        finally:
            job.run(workspace, "umount", "--recursive", "--lazy", base)
            job.run(workspace, "rmdir", base)

    def _furnish(self, job: Job, root: MountedRoot, copy: Path) -> None:
        """Put into the copy of the machine what the scripts may read, and sudo."""
        workspace, directory = root.workspace, self.recipe.directory
        board = copy / BOARDDIR.relative_to("/") / self._board
        wanted = {
            copy / self._inside.relative_to("/"): package_directory(directory, self.legacy),
            **{board / name: path for name, path in board_files(directory, self.legacy).items()},
        }
        for place, source in wanted.items():
            job.run(workspace, "mkdir", "-p", place.parent)
            # Root's, not the caller's: they may be copied on with their owners.
            job.run(workspace, "cp", "-rL", "--preserve=mode", source, place)
        package = copy / self._inside.relative_to("/")
        for name in SCRIPTS:
            if workspace.outside(package / name).is_file():
                job.run(workspace, "chmod", "0755", package / name)
        sudo = copy / "usr/bin/sudo"
        job.run(workspace, "rm", "-f", sudo)
        workspace.outside(sudo).write_text(_SUDO)
        job.run(workspace, "chmod", "0755", sudo)
        job.run(workspace, "mount", "-t", "tmpfs", "-o", "mode=1777", "tmp", copy / "tmp")
        if self.legacy.network:
            names = copy / "etc/resolv.conf"
            job.run(workspace, "cp", "-L", "--remove-destination", "/etc/resolv.conf", names)


class FetchingSdbuildPackageLayer(SdbuildPackageLayer):
    """The same with the network, so that --offline refuses to build it."""

    fetches = True
