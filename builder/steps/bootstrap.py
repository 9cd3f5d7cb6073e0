# SPDX-License-Identifier: MIT
"""The packages of a root filesystem, installed by mmdebstrap in one transaction."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.archive.archive import Archive
from builder.engine.workspace import Workspace
from builder.spec.models import Architecture
from builder.steps.pack import LAYER
from builder.steps.step import Job, Step

NEED = 4 << 30
"""Bytes that a root filesystem with its packages takes while it is built."""

# qemu's default 64-bit CPU emulates pointer authentication, which makes everything 2.8 times
# slower; for 32-bit programs qemu must choose its own.
QEMU_CPU: Mapping[Architecture, Mapping[str, str]] = {
    Architecture.ARMHF: {},
    Architecture.ARM64: {"QEMU_CPU": "cortex-a53"},
}


class Bootstrap(Step):
    """A minimal system and the apt packages of all recipes: the lowest layer."""

    packages = ("mmdebstrap", "qemu-user-static")

    def __init__(self, archive: Archive, packages: Sequence[str], *, scope: str) -> None:
        super().__init__("bootstrap", scope=scope)
        self.archive = archive
        self.wanted = sorted({*packages})

    def settings(self) -> Mapping[str, object]:
        return {
            "distribution": self.archive.distribution.name,
            "architecture": self.archive.architecture.value,
            "archive": dict(self.archive.pockets),
            "apt packages": self.wanted,
            "image's sources": self.archive.image_sources(),
        }

    def run(self, job: Job) -> None:
        suite = self.archive.distribution.model.suite
        cache = job.store.root / "archives" / "packages" / self.archive.root.name
        cache.mkdir(parents=True, exist_ok=True)
        with job.workspace("bootstrap", need=NEED, network=True) as workspace:
            work = workspace.directory
            sources = work / "sources.list"
            workspace.outside(sources).write_text(self.archive.binary_sources())
            published = work / "image.list"
            workspace.outside(published).write_text(self.archive.image_sources())
            tree = work / "root.tar"
            job.run(
                workspace,
                "mmdebstrap",
                "--verbose",
                "--mode=root",
                "--variant=minbase",
                "--format=tar",
                f"--architectures={self.archive.architecture.value}",
                f"--include={','.join(self.wanted)}",
                *self._apt_options(),
                # The indexes are those that were verified and recorded; nothing newer.
                "--skip=update",
                *self._hooks(cache, published),
                suite,
                tree,
                sources,
                environment={
                    "SOURCE_DATE_EPOCH": str(self.archive.epoch),
                    "TMPDIR": str(work),
                    **QEMU_CPU[self.archive.architecture],
                },
            )
            job.run(workspace, "zstd", "-q", "-1", "-T0", tree, "-o", job.output / LAYER)
            self._list_packages(job, workspace, tree)

    def _apt_options(self) -> list[str]:
        return [
            f"--aptopt={option}"
            for option in (*self.archive.host_options(), 'Acquire::Languages "none";')
        ]

    def _hooks(self, cache: Path, published: Path) -> list[str]:
        """Return hooks that give apt our indexes and keep its downloads.

        mmdebstrap runs them by sh with the root directory as $1. Mounts vanish with the
        workspace even if a later hook is never reached.
        """
        lists, debs, sources = (
            shlex.quote(str(path)) for path in (self.archive.lists, cache, published)
        )
        setup = [
            f'mkdir -p "$1/var/lib/apt/lists"; cp -a {lists}/. "$1/var/lib/apt/lists/"',
            f'mkdir -p {debs}/partial "$1/var/cache/apt/archives"',
            f'mount --bind {debs} "$1/var/cache/apt/archives"',
        ]
        customize = [
            'umount "$1/var/cache/apt/archives"',
            'rm -f "$1"/etc/apt/sources.list.d/*',
            f'cp {sources} "$1/etc/apt/sources.list"',
            # The options for apt were for this machine's network, not for the board's.
            'rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"',
            # Empty, systemd makes a new identity at first boot, without resetting which units
            # are enabled (machine-id(5)).
            ': > "$1/etc/machine-id"; rm -f "$1/var/lib/dbus/machine-id"',
            # What holds times or random bytes is made anew where it is needed.
            'rm -rf "$1"/etc/ssh/ssh_host_* "$1"/var/log/*.log "$1"/var/log/apt/*',
            'rm -f "$1/var/cache/ldconfig/aux-cache" "$1/var/lib/systemd/random-seed"',
        ]
        # As soon as the target has programs: see builder.steps.layers on what is checked.
        message = "the target's programs cannot list directories here: this needs a tmpfs"
        same = 'test "$(chroot "$1" /bin/ls /etc)" = "$(ls "$1/etc")"'
        check = f'{same} || {{ echo >&2 "{message}"; exit 1; }}'
        return [
            *(f"--setup-hook={line}" for line in setup),
            f"--essential-hook={check}",
            *(f"--customize-hook={line}" for line in customize),
        ]

    def _list_packages(self, job: Job, workspace: Workspace, tree: Path) -> None:
        """Write what was installed, for the manifest."""
        status = job.run(
            workspace,
            *("tar", "--extract", "--to-stdout", "--file", tree, "./var/lib/dpkg/status"),
        )
        job.log.write(f"({len(status)} bytes of package status)\n")
        (job.output / "packages.json").write_text(json.dumps(installed(status), indent=1))


def installed(status: str) -> list[dict[str, str]]:
    """Return name, version, architecture and source of the packages that dpkg has installed."""
    found: list[dict[str, str]] = []
    for paragraph in status.split("\n\n"):
        fields = dict(
            re.findall(
                r"^(Package|Version|Architecture|Source|Status): (.+)$", paragraph, re.MULTILINE
            )
        )
        if fields.pop("Status", "") == "install ok installed":
            found.append({name.lower(): value for name, value in fields.items()})
    return sorted(found, key=lambda item: item["package"])
