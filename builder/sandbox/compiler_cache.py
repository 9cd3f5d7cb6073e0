# SPDX-License-Identifier: MIT
"""Cache of compiled objects, by ccache(1).

ccache takes the place of the compilers on the search path, so that nothing in a source tree has to
know of it. It finds an object by the source's text, by all headers that were read, by the options
and by the compiler, so its output is the same bits as the compiler's.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.sandbox.process import SEARCH_PATH
from builder.sandbox.workspace import Workspace

COMPILER_IDENTITY = "CCACHE_COMPILERCHECK"
"""Variable of ccache's with what tells compilers apart."""

_PLACE = "compilers"
_STATISTICS = "compilations"
_TREES = "trees"
_MOST_TREES = 6
"""Build directories that are kept; one of a kernel takes 60 MB."""

# Links to ccache, and a hash over the programs that make an object: the driver, the compiler proper
# and the assembler. ccache's own default, the driver's time and size, misses the other two.
_PREPARE = r"""
ccache=$(command -v ccache)
mkdir "$PLACE"
for compiler; do
    for program in "$compiler" "$($compiler -print-prog-name=cc1)" "$($compiler -print-prog-name=as)"
    do
        sha256sum < "$(command -v "$program")"
    done
    ln -s "$ccache" "$PLACE/$compiler"
done | sha256sum
"""


@dataclass(frozen=True, kw_only=True)
class CacheUse:
    """How many compilations there were, and for how many the cache had the object."""

    compilations: int
    hits: int

    def __str__(self) -> str:
        share = f" ({100 * self.hits // self.compilations} %)" if self.compilations else ""
        return f"compiler cache: {self.hits} of {self.compilations} objects{share}"


class CompilerCache:
    """Cache of compiled objects in `directory`, of at most `limit` bytes.

    Beside single objects it has build directories of whole trees, the last ones that were used.
    """

    def __init__(self, directory: Path, *, limit: int) -> None:
        self._directory = directory
        self._limit = limit

    def build_directory(self, identity: str) -> Path:
        """Return the archive (tar.zst) with a tree's build directory; it may not be there.

        identity: a hash over all that decides whether make can go on from it.
        """
        return self._directory / _TREES / f"{identity}.tar.zst"

    @contextmanager
    def keeping(self, identity: str) -> Iterator[Path]:
        """Give the path to which the archive of a build directory is to be written."""
        target = self.build_directory(identity)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            yield fresh
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
        for path in self._archives()[_MOST_TREES:]:
            path.unlink(missing_ok=True)

    def _archives(self) -> list[Path]:
        """Return the archives of build directories, and what killed builds left, newest first."""
        paths = (self._directory / _TREES).iterdir()
        return sorted(paths, key=lambda path: path.lstat().st_mtime, reverse=True)

    def prepare(self, workspace: Workspace, compilers: Sequence[str]) -> dict[str, str]:
        """Return the environment for commands in a workspace that call these compilers.

        compilers: names of programs of GCC's, as commands call them, say `gcc`.

        Raises:
            CommandError: one of them cannot be found.
        """
        place = workspace.directory / _PLACE
        identity = workspace.run(
            ["sh", "-eu", "-c", _PREPARE, "prepare", *compilers], environment={"PLACE": str(place)}
        )
        self._directory.mkdir(exist_ok=True)
        return {
            "PATH": f"{place}:{SEARCH_PATH}",
            "CCACHE_DIR": str(self._directory),
            "CCACHE_CONFIGPATH": "/dev/null",  # neither the machine's settings nor the user's
            COMPILER_IDENTITY: f"string:{identity.split()[0]}",
            "CCACHE_MAXSIZE": f"{self._limit >> 20}Mi",
            # The next workspace is elsewhere, so that its path must not count, nor be in objects: trees
            # are compiled by relative paths, and with -ffile-prefix-map, which ccache knows, where
            # there is debugging information. (CCACHE_BASEDIR would change absolute paths in it.)
            "CCACHE_NOHASHDIR": "1",
            "CCACHE_STATSLOG": str(workspace.directory / _STATISTICS),
        }

    def use(self, workspace: Workspace) -> CacheUse:
        """Return how the cache was used in a workspace."""
        try:
            events = workspace.outside(workspace.directory / _STATISTICS).read_text().splitlines()
        except FileNotFoundError:
            events = []
        hits = sum(event in ("direct_cache_hit", "preprocessed_cache_hit") for event in events)
        return CacheUse(compilations=hits + events.count("cache_miss"), hits=hits)
