# SPDX-License-Identifier: MIT
"""The packages of a root filesystem, installed by mmdebstrap in one transaction."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.apt.archive import Archive
from builder.rootfs.mmdebstrap import PREFERENCES, keep_downloads, options
from builder.rootfs.native.tree import NativeTree, native_parent, native_tree
from builder.sandbox.process import SEARCH_PATH
from builder.sandbox.workspace import Workspace
from builder.spec.models import Architecture
from builder.steps.layer_archive import LAYER
from builder.steps.step import ROOT_FILESYSTEM, Job, Step

NEED = 4 << 30
"""Bytes that a root filesystem with its packages needs during the build."""

# QEMU's default 64-bit CPU emulates pointer authentication, which makes programs 2.8 times slower.
# For 32-bit programs QEMU must choose the CPU itself.
QEMU_CPU: Mapping[Architecture, Mapping[str, str]] = {
    Architecture.ARMHF: {},
    Architecture.ARM64: {"QEMU_CPU": "cortex-a53"},
}


_FIELDS = re.compile(
    r"^(Package|Version|Architecture|Source|Status|Installed-Size): (.+)$", re.MULTILINE
)


class Bootstrap(Step):
    """The lowest layer: a minimal system and the apt packages of all recipes."""

    packages = ("mmdebstrap", "qemu-user-static")
    capabilities = ROOT_FILESYSTEM

    def __init__(
        self,
        archive: Archive,
        packages: Sequence[str],
        *,
        native: Step | None,
        scope: str,
    ) -> None:
        super().__init__("bootstrap", scope=scope, parents=native_parent(native))
        self.archive = archive
        self.wanted = sorted({*packages})
        self.native = native.name if native else None

    def settings(self) -> Mapping[str, object]:
        return {
            "distribution": self.archive.distribution.name,
            "architecture": self.archive.architecture.value,
            "archive": dict(self.archive.pockets),
            "apt packages": self.wanted,
            "image's sources": self.archive.image_sources(),
        }

    def run(self, job: Job) -> None:
        native = native_tree(self.native, job)
        with job.workspace("bootstrap", need=NEED, network=True) as workspace:
            work = workspace.directory
            published = work / "image.list"
            workspace.outside(published).write_text(self.archive.image_sources())
            tree = work / "root.tar"
            environment = {
                "SOURCE_DATE_EPOCH": str(self.archive.epoch),
                "TMPDIR": str(work),
                **QEMU_CPU[self.archive.architecture],
            }
            keep = keep_downloads(self.archive, job.store, work)
            if native:
                environment["PATH"] = f"{native.entrance}:{SEARCH_PATH}"
            job.run(
                workspace,
                *("mmdebstrap", "--verbose", "--variant=minbase", "--format=tar"),
                f"--include={','.join(self.wanted)}",
                *options(self.archive, job.store, work, say=job.say),
                *self._hooks(published, native, keep),
                *(self.archive.distribution.model.suite, tree, "-"),
                environment=environment,
                stdin=self.archive.binary_sources(),
            )
            job.run(workspace, "zstd", "-q", "-1", "-T0", tree, "-o", job.output / LAYER)
            self._list_packages(job, workspace, tree)

    def _hooks(self, published: Path, native: NativeTree | None, keep: str) -> list[str]:
        """Return mmdebstrap's hooks: they clean up the tree and attach native programs."""
        customize = [
            keep,
            f'rm -f "$1"/etc/apt/sources.list.d/* "$1/{PREFERENCES}"',
            f'cp {shlex.quote(str(published))} "$1/etc/apt/sources.list"',
            # These options of apt are for the host's network, not for the board's.
            'rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"',
            # mmdebstrap copies the host's name and name servers; resolved keeps a copy of the
            # latter.
            'echo localhost > "$1/etc/hostname"; chmod 0644 "$1/etc/hostname"',
            'rm -f "$1/etc/.resolv.conf.systemd-resolved.bak"',
            # With an empty file, systemd creates an ID at first boot without resetting which units
            # are enabled (machine-id(5)).
            ': > "$1/etc/machine-id"; rm -f "$1/var/lib/dbus/machine-id"',
            # Files with times or random bytes; the board creates those that it needs.
            'rm -rf "$1"/etc/ssh/ssh_host_* "$1"/var/log/*.log "$1"/var/log/apt/*',
            'rm -f "$1/var/cache/ldconfig/aux-cache" "$1/var/lib/systemd/random-seed"',
            'rm -f "$1/etc/fake-hwclock.data"',
        ]
        # As soon as the target has programs; builder.rootfs.layers explains the check.
        message = "programs of the target cannot list directories on this filesystem: use a tmpfs"
        same = 'test "$(/usr/sbin/chroot "$1" /bin/ls /etc)" = "$(ls "$1/etc")"'
        check = f'{same} || {{ echo >&2 "{message}"; exit 1; }}'
        hooks = [
            f"--essential-hook={check}",
            *(f"--customize-hook={line}" for line in customize),
        ]
        if native:
            hooks += [
                f"--extract-hook={native.attach()}",
                f"--customize-hook={native.detach()}",
                # apt does not pass PATH on to dpkg.
                f'--aptopt=DPkg::Path "{native.entrance}:{SEARCH_PATH}";',
            ]
        return hooks

    def _list_packages(self, job: Job, workspace: Workspace, tree: Path) -> None:
        """Write the list of installed packages, for the manifest."""
        status = job.run(
            workspace,
            *("tar", "--extract", "--to-stdout", "--file", tree, "./var/lib/dpkg/status"),
        )
        job.log.write(f"({len(status)} bytes of package status)\n")
        (job.output / "packages.json").write_text(json.dumps(installed(status), indent=1))


def installed(status: str) -> list[dict[str, str | int]]:
    """Return the installed packages in `status`, the content of dpkg's status file.

    Each has name, version, architecture, source and size: Installed-Size (Debian Policy 5.6.20, in
    KiB) in bytes.
    """
    found: list[dict[str, str | int]] = []
    for paragraph in status.split("\n\n"):
        fields: dict[str, str] = dict(_FIELDS.findall(paragraph))
        if fields.pop("Status", "") == "install ok installed":
            size = int(fields.pop("Installed-Size", "0")) * 1024
            found.append({name.lower(): value for name, value in fields.items()} | {"size": size})
    return sorted(found, key=lambda item: str(item["package"]))
