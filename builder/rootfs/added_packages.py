# SPDX-License-Identifier: MIT
"""Packages added to an existing system.

The host's apt resolves and downloads the missing packages from verified indexes, given the system's
list of installed packages. The system's own apt installs these files without network access.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.apt.archive import Archive
from builder.apt.settings import VERIFIED, as_arguments
from builder.errors import CommandError, UserError
from builder.rootfs.bootstrap import QEMU_CPU, installed
from builder.rootfs.layers import MountedRoot, layer_stack
from builder.rootfs.mmdebstrap import checked_downloads
from builder.rootfs.native.tree import native_parent, native_tree
from builder.sandbox.process import SEARCH_PATH
from builder.steps.step import ROOT_FILESYSTEM, Job, Step

_STATUS = "var/lib/dpkg/status"
_ARCHIVES = "var/cache/apt/archives"
_POLICY = "usr/sbin/policy-rc.d"
# Files of apt and dpkg that contain the time of the installation.
_TRACES = (
    *(
        "var/log/dpkg.log",
        "var/log/alternatives.log",
        "var/log/apt",
        "var/cache/ldconfig/aux-cache",
    ),
    *("var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin"),
)


class AddedPackages(Step):
    """A layer with packages and those of their dependencies that the system lacks."""

    packages = ("bubblewrap", "qemu-user-static")
    fetches = True
    capabilities = ROOT_FILESYSTEM

    def __init__(
        self,
        archive: Archive,
        packages: Sequence[str],
        *,
        below: Sequence[Step],
        native: Step | None,
        epoch: int,
        scope: str,
    ) -> None:
        parents = {step.name: step for step in below} | native_parent(native)
        super().__init__("packages", scope=scope, parents=parents)
        self.archive = archive
        self.wanted = sorted({*packages})
        self.below = [step.name for step in below]
        self.native = native.name if native else None
        self.epoch = epoch

    def settings(self) -> Mapping[str, object]:
        return {
            "apt packages": self.wanted,
            "archive": dict(self.archive.pockets),
            "epoch": self.epoch,
        }

    def run(self, job: Job) -> None:
        stack = layer_stack(job)
        native = native_tree(self.native, job)
        below = [job.entry(name) for name in self.below]
        with (
            job.store.scratch("packages") as scratch,
            stack.mounted(below, native=native, log=job.log) as root,
        ):
            before = {str(item["package"]) for item in installed(_status(root))}
            debs = self._fetch(job, root, scratch)
            inside = stack.inside(root, log=job.log)
            self._install(job, root, inside, debs)
            self._clear(root)
            found = installed(_status(root))
            new = {str(item["package"]) for item in found} - before
            self._mark(job, root, inside, sorted(new))
            stack.save(root, job.output, epoch=self.epoch, log=job.log)
        (job.output / "packages.json").write_text(json.dumps(found, indent=1))

    def _fetch(self, job: Job, root: MountedRoot, scratch: Path) -> Path:
        """Download the packages to install; return their directory."""
        status, debs = scratch / "status", scratch / "debs"
        status.write_text(_status(root))
        (debs / "partial").mkdir(parents=True)
        apt: list[str | Path] = [
            *("apt-get", "-c", self.archive.root / "apt.conf", "-q", "-y"),
            *("-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={debs}"),
            *("-o", "APT::Install-Recommends=false", "-o", "Debug::NoLocking=true"),
        ]
        self.archive.check()
        with job.workspace("packages", need=1 << 20, network=True) as workspace:
            try:
                listed = job.run(workspace, *apt, "--print-uris", "install", *self.wanted)
            except CommandError as error:
                raise UserError(
                    f"the packages {', '.join(self.wanted)} cannot be installed in this system "
                    f"from the current archive of {self.archive.distribution.name}",
                    details=error.details,
                ) from error
            # 'URL' NAME SIZE HASH
            names = [line.split()[1] for line in listed.splitlines() if line.startswith("'")]
            cache = checked_downloads(self.archive, job.store, job.say, names)
            for name in names:
                if (cache / name).exists():
                    shutil.copyfile(cache / name, debs / name)
            job.run(workspace, *apt, "--download-only", "install", *self.wanted)
        for deb in debs.glob("*.deb"):
            if not (cache / deb.name).exists():
                partial = cache / "partial" / f"{deb.name}.{job.output.name}"
                shutil.copyfile(deb, partial)
                partial.rename(cache / deb.name)
        return debs

    def _install(self, job: Job, root: MountedRoot, inside: Sequence[str], debs: Path) -> None:
        """Install packages by the system's own apt, without starting services."""
        had_policy = root.files.exists(_POLICY)
        if not had_policy:
            root.files.write(_POLICY, b"#!/bin/sh\nexit 101\n", mode=0o755)
        archives = root.at(_ARCHIVES)
        job.run(root.workspace, "mount", "--bind", debs, archives)
        names = sorted(f"/{_ARCHIVES}/{path.name}" for path in debs.glob("*.deb"))
        path = f"{root.native.entrance}:{SEARCH_PATH}" if root.native else SEARCH_PATH
        try:
            job.run(
                root.workspace,
                *inside,
                *("apt-get", "-q", "-y", "--no-install-recommends", "--no-download", "install"),
                *("-o", f"DPkg::Path={path}", "-o", "APT::Sandbox::User=root"),
                *("-o", "Dpkg::Options::=--force-confold", "-o", "APT::Keep-Downloaded-Packages=1"),
                *as_arguments(VERIFIED),
                *names,
                environment={
                    "SOURCE_DATE_EPOCH": str(self.epoch),
                    "DEBIAN_FRONTEND": "noninteractive",
                    **QEMU_CPU[self.archive.architecture],
                },
            )
        finally:
            job.run(root.workspace, "umount", "--lazy", archives)
            if not had_policy:
                root.files.remove(_POLICY)

    def _mark(self, job: Job, root: MountedRoot, inside: Sequence[str], new: Sequence[str]) -> None:
        """Mark dependencies as automatically installed, so that apt can remove them."""
        automatic = [name for name in new if name not in self.wanted]
        if automatic:
            job.run(root.workspace, *inside, "apt-mark", "-q", "auto", *automatic)

    def _clear(self, root: MountedRoot) -> None:
        for name in _TRACES:
            was_directory = root.files.is_directory(name) and not root.files.is_link(name)
            root.files.remove(name)
            if was_directory:
                root.files.make_directory(name)


def _status(root: MountedRoot) -> str:
    return root.files.text(_STATUS)
