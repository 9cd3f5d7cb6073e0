# SPDX-License-Identifier: MIT
"""Options and hooks of every run of mmdebstrap."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

from builder.apt.archive import Archive
from builder.apt.settings import VERIFIED, host_options
from builder.apt.verification import remove_damaged
from builder.store.store import Store

PREFERENCES = "etc/apt/preferences.d/builder"
"""File in the tree with what apt prefers while it is built (apt_preferences(5))."""

_ARCHIVES = "var/cache/apt/archives"


def downloads(archive: Archive, store: Store) -> Path:
    """Return the directory of the store that keeps an archive's packages."""
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
    """Return that directory, after damaged packages were removed from it, of which each is told.

    `files` are those that matter, by default all.
    """
    kept = downloads(archive, store)
    if files is None:
        files = [path.name for path in kept.glob("*.deb")]
    remove_damaged(kept, archive.checksums(name.partition("_")[0] for name in files), say)
    return kept


def options(
    archive: Archive, store: Store, work: Path, *, say: Callable[[str], object]
) -> list[str]:
    """Return the options with which packages come from an archive as it was recorded.

    What is kept of it is checked first; `say` is told of packages that are damaged. `work` is a
    directory for mounts, which are gone with the workspace that it is in. Hooks are run by sh with
    the root directory as $1.

    Raises:
        DamagedIndexes: the archive's indexes are not what was signed.
        HostError: this machine lacks what they are checked with.
    """
    archive.check()
    apt = [
        *host_options(),
        *VERIFIED,
        'Acquire::Languages "none";',
        # Else it gives directories of the tree to whoever this machine calls _apt.
        'APT::Sandbox::User "root";',
    ]
    lists = shlex.quote(str(archive.lists))
    debs = shlex.quote(str(checked_downloads(archive, store, say)))
    hooks = [
        f'mkdir -p "$1/var/lib/apt/lists"; cp -a {lists}/. "$1/var/lib/apt/lists/"',
        # What is downloaded lies above what was kept: apt locks the directory, and another build
        # may want it at the same time.
        (
            f"cd {shlex.quote(str(work))}; mkdir kept new changing; mount --bind {debs} kept; "
            f'mkdir -p "$1/{_ARCHIVES}"; mount -t overlay '
            f'-o lowerdir=kept,upperdir=new,workdir=changing downloads "$1/{_ARCHIVES}"'
        ),
        # /bin, /sbin and /lib are links from the start, as debootstrap makes them.
        'for d in bin sbin lib; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done',
        # usr-is-merged says so too; usrmerge would bring all of Perl to make the links.
        f'printf "Package: usrmerge\\nPin: version *\\nPin-Priority: -1\\n" > "$1/{PREFERENCES}"',
    ]
    return [
        "--mode=root",
        f"--architectures={archive.architecture.value}",
        *(f"--aptopt={option}" for option in apt),
        # The indexes are those that were verified and recorded; nothing newer.
        "--skip=update",
        # What is downloaded is to be kept.
        "--skip=essential/unlink",
        *(f"--setup-hook=set -e; {hook}" for hook in hooks),
    ]


def keep_downloads(archive: Archive, store: Store, work: Path) -> str:
    """Return a shell line for a hook that keeps what was downloaded, before all is cleaned away."""
    debs = shlex.quote(str(downloads(archive, store)))
    return (
        f'set -e; umount "$1/{_ARCHIVES}"; cd {shlex.quote(str(work))}/new; '
        'for deb in *.deb; do [ -e "$deb" ] || continue; '
        f'cp "$deb" {debs}/partial/"$deb.$$"; mv {debs}/partial/"$deb.$$" {debs}/"$deb"; done'
    )
