# SPDX-License-Identifier: MIT
"""The layer of a recipe that contains a package of PYNQ's sdbuild.

The package's scripts run unchanged: `pre.sh` and `post.sh` run on the host with the path of the root
filesystem, here in a disposable copy of the host; `qemu.sh` runs in the root filesystem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from builder.errors import CommandError
from builder.rootfs.host_copy import ROOTDIR, TARGET, SdbuildPackage, host_copy
from builder.rootfs.recipe import RecipeLayer
from builder.rootfs.target import Target

_UNKNOWN = "Unknown"
"""sdbuild's name of the board in root filesystems for all boards."""

_OFFLINE = re.compile(
    r"could ?n.t resolve|could not resolve|name resolution|name or service not known"
    r"|network is unreachable|failed to establish a new connection|failed to fetch",
    re.IGNORECASE,
)


class SdbuildPackageLayer(RecipeLayer):
    """The layer of a recipe that runs the scripts of an sdbuild package after all else."""

    @property
    def package(self) -> SdbuildPackage:
        """The package."""
        recipe, view = self.inputs.recipe, self.inputs.view
        assert recipe.model.legacy, "only recipes with a package have this class of layer"
        return SdbuildPackage(
            recipe=recipe.directory,
            legacy=recipe.model.legacy,
            board=view.board.board if view else _UNKNOWN,
        )

    def files(self) -> Sequence[Path]:
        return [*super().files(), *self.package.files.values()]

    def environment(self) -> dict[str, str]:
        architecture = self.inputs.archive.architecture
        return {**super().environment(), **self.package.environment(architecture)}

    def run_scripts(self, target: Target) -> None:
        super().run_scripts(target)
        package = self.package
        with _runtime(target, network=package.legacy.network), host_copy(target, package) as host:
            for name in package.scripts:
                if name == "qemu.sh":
                    content = (package.directory / name).read_bytes()
                    target.root.files.write(name, content, mode=0o644)
                    _run(target, package, name, [*target.inside, "/bin/bash", name])
                    target.root.files.remove(name)
                else:
                    script = str(package.place / name)
                    # As a shell starts it: by bash if the script names no interpreter.
                    start = ["bash", "-c", 'cd "$1" && exec "$0" "$2"', script]
                    _run(target, package, name, [*host, *start, str(ROOTDIR), str(TARGET)])


class FetchingSdbuildPackageLayer(SdbuildPackageLayer):
    """The layer of a package whose scripts use the network; `--offline` refuses to build it."""

    fetches = True


def _run(target: Target, package: SdbuildPackage, name: str, argv: Sequence[str]) -> None:
    """Run a script of the package; explain a failure for want of the network."""
    try:
        target.root.workspace.run(
            argv,
            environment=target.environment,
            network=package.legacy.network,
            log=target.job.log,
            on_line=target.job.on_line,
        )
    except CommandError as error:
        offline = not package.legacy.network and any(map(_OFFLINE.search, error.details))
        raise CommandError(
            f"{name} of sdbuild package {package.place.name} ended with status {error.status}",
            replay=error.replay,
            status=error.status,
            details=error.details,
            hint="the script uses the network, which scripts cannot reach: list its downloads in "
            f"{package.recipe}/recipe.yaml (apt, pip, downloads), or set `network: true` under "
            "`legacy` there; then the build is no longer reproducible"
            if offline
            else error.hint,
        ) from error


@contextmanager
def _runtime(target: Target, *, network: bool) -> Iterator[None]:
    """Mount an empty /run in the root filesystem; with `network`, also the host's resolv.conf."""
    workspace, run = target.root.workspace, target.root.at("run")
    target.job.run(workspace, "mount", "-t", "tmpfs", "-o", "mode=0755", "run", run)
    try:
        if network:
            with _resolver(target):
                yield
        else:
            yield
    finally:
        target.job.run(workspace, "umount", run)


@contextmanager
def _resolver(target: Target) -> Iterator[None]:
    """Mount the host's resolv.conf(5) over the root filesystem's."""
    root, job = target.root, target.job
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
