# SPDX-License-Identifier: MIT
"""Paths of the store.

Layout under its root:

    entries/<key>/entry.json     how the output was made: step, components of its key, time; and the
                                 hash of tree.json
    entries/<key>/files/         the step's output; never changed once written
    entries/<key>/tree.json      the hash tree of the output (see builder.store.tree)
    entries/<key>/verified.json  states of the files when they last matched the tree
    entries/<key>/known-<what>   a cached number that was derived from the files
    drafts/<key>/                an entry being written; renamed into entries/ when complete
    scratch/<name>/              a step's working directory, empty on disk when it is a tmpfs
    outputs/<key>                the hash of an entry's tree, which outlives the entry
    last/<scope>/<step>.json     components of the step's last key, to explain what changed
    archives/                    package indexes (see builder.apt)
    ccache/                      compiled objects (see builder.sandbox.compiler_cache)
    digests/                     checksums of the user's large files (see builder.store.digests)
    petalinux/<installer>/       bitbake's caches (see builder.bsp.petalinux)
    locks/                       one lock file per entry, scratch directory or archive
    CACHEDIR.TAG                 keeps backup programs out
"""

from __future__ import annotations

import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CREATED = ("entries", "drafts", "scratch", "outputs", "last", "archives", "digests")
_TAG = "CACHEDIR.TAG"
_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n"
"""Content of the file that keeps backup programs out (https://bford.info/cachedir/)."""
_OTHERS = ("ccache", "locks", "petalinux", "secret", "secret.new", _TAG)
_PRIVATE = ("entries", "drafts", "scratch", "archives", "petalinux")
"""Directories with files that not every user may read, such as hashes of passwords."""

CONTENT = (*_CREATED, "ccache", "petalinux")
"""Directories that `Store.empty` removes."""


@dataclass(frozen=True)
class Layout:
    """Paths of the store at `root`."""

    root: Path

    @property
    def entries(self) -> Path:
        """The directory of the entries, by key."""
        return self.root / "entries"

    @property
    def drafts(self) -> Path:
        """The directory of the entries that are being written, by key."""
        return self.root / "drafts"

    @property
    def scratch(self) -> Path:
        """The directory of the steps' working directories."""
        return self.root / "scratch"

    @property
    def outputs(self) -> Path:
        """The directory of the hashes of outputs, by key."""
        return self.root / "outputs"

    @property
    def archives(self) -> Path:
        """The directory of the package indexes."""
        return self.root / "archives"

    @property
    def compiler_cache(self) -> Path:
        """The directory of the compiler cache, which need not exist."""
        return self.root / "ccache"

    @property
    def locks(self) -> Path:
        """The directory of the lock files."""
        return self.root / "locks"

    def lock(self, name: str) -> Path:
        """Return the lock file for an entry, a scratch directory or something else."""
        return self.locks / f"{name}.lock"

    def last(self, scope: str, step: str) -> Path:
        """Return the file with the components of a step's last key."""
        return self.root / "last" / scope / f"{step}.json"

    def create(self) -> None:
        """Create missing directories, and deny other users access."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (*_CREATED, "locks"):
            (self.root / name).mkdir(exist_ok=True)
        tag = self.root / _TAG
        if not tag.exists():
            tag.write_text(
                f"{_SIGNATURE}# The cache of zynq-sd-builder; everything here can be built again.\n"
            )
        shared = self.root.stat().st_mode & stat.S_ISGID
        # In a directory with other files, restrict only the store's own directories.
        alone = {path.name for path in self.root.iterdir()} <= {*_CREATED, *_OTHERS}
        for place in [self.root] if alone else [self.root / name for name in _PRIVATE]:
            _restrict(place, to_group=not shared)


def _restrict(place: Path, *, to_group: bool) -> None:
    """Remove other users' access to a directory, and its group's, if this user owns it."""
    refused = 0o077 if to_group else 0o007
    with suppress(FileNotFoundError, PermissionError):
        mode = stat.S_IMODE(place.stat().st_mode)
        if mode & refused:
            place.chmod(mode & ~refused)
