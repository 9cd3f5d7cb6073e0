# SPDX-License-Identifier: MIT
"""Options and hooks of all runs of mmdebstrap."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

from builder.apt.archive import Archive
from builder.apt.settings import VERIFIED, host_options
from builder.apt.verification import remove_damaged
from builder.store.store import Store

PREFERENCES = "etc/apt/preferences.d/builder"
"""The file in the tree with apt's preferences during the build (apt_preferences(5))."""

_ARCHIVES = "var/cache/apt/archives"


def downloads(archive: Archive, store: Store) -> Path:
    """Return the store's directory for the downloaded packages of an archive."""
    name = f"{archive.distribution.name}-{archive.architecture.value}"
    cache = store.root / "archives" / "packages" / name
    (cache / "partial").mkdir(parents=True, exist_ok=True)
    return cache


def checked_downloads(
    archive: Archive,
    store: Store,
    say: Callable[[str], object],
    files: Iterable[str] | None = None,
) -> Path:
    """Remove damaged packages from the directory of downloads; return the directory.

    Args:
        archive: the archive.
        store: the store.
        say: gets a line for each removed package.
        files: names of the packages to check. Default: all.
    """
    cache = downloads(archive, store)
    if files is None:
        files = [path.name for path in cache.glob("*.deb")]
    remove_damaged(cache, archive.checksums(name.partition("_")[0] for name in files), say)
    return cache


def options(
    archive: Archive, store: Store, work: Path, *, say: Callable[[str], object]
) -> list[str]:
    """Return the options that install packages from the recorded state of an archive.

    Cached indexes and packages are verified first. mmdebstrap runs hooks by sh with the root
    directory as $1.

    Args:
        archive: the archive.
        store: the store that caches its packages.
        work: a directory for mounts; they end with the workspace that contains it.
        say: gets a line for each damaged package.

    Raises:
        DamagedIndexes: the archive's indexes do not match their signature.
        HostError: the host lacks a program that verifies them.
    """
    archive.check()
    apt = [
        *host_options(),
        *VERIFIED,
        'Acquire::Languages "none";',
        # Otherwise apt gives directories of the tree to the host's user _apt.
        'APT::Sandbox::User "root";',
    ]
    lists = shlex.quote(str(archive.lists))
    debs = shlex.quote(str(checked_downloads(archive, store, say)))
    hooks = [
        f'mkdir -p "$1/var/lib/apt/lists"; cp -a {lists}/. "$1/var/lib/apt/lists/"',
        # Downloads go to an overlay above the cache: apt locks its directory, and another build
        # may use the cache at the same time.
        (
            f"cd {shlex.quote(str(work))}; mkdir cache new work; mount --bind {debs} cache; "
            f'mkdir -p "$1/{_ARCHIVES}"; mount -t overlay '
            f'-o lowerdir=cache,upperdir=new,workdir=work downloads "$1/{_ARCHIVES}"'
        ),
        # /bin, /sbin and /lib are links from the start, as with debootstrap.
        'for d in bin sbin lib; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done',
        # usr-is-merged satisfies the same dependency; usrmerge would install all of Perl.
        f'printf "Package: usrmerge\\nPin: version *\\nPin-Priority: -1\\n" > "$1/{PREFERENCES}"',
    ]
    return [
        "--mode=root",
        f"--architectures={archive.architecture.value}",
        *(f"--aptopt={option}" for option in apt),
        # Use the verified, recorded indexes, never newer ones.
        "--skip=update",
        # Do not delete the downloads: a hook adds them to the cache.
        "--skip=essential/unlink",
        *(f"--setup-hook=set -e; {hook}" for hook in hooks),
    ]


def keep_downloads(archive: Archive, store: Store, work: Path) -> str:
    """Return a shell line for a hook that adds downloads to the cache before the clean-up."""
    debs = shlex.quote(str(downloads(archive, store)))
    return (
        f'set -e; umount "$1/{_ARCHIVES}"; cd {shlex.quote(str(work))}/new; '
        'for deb in *.deb; do [ -e "$deb" ] || continue; '
        f'cp "$deb" {debs}/partial/"$deb.$$"; mv {debs}/partial/"$deb.$$" {debs}/"$deb"; done'
    )
