# SPDX-License-Identifier: MIT
"""Cache of compiled objects, by ccache(1).

On the search path ccache replaces the compilers, so that source trees need no changes. It finds an
object by the source's text, all headers that it includes, the options and the compiler, so its
output has the same bits as the compiler's.
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
"""ccache's variable for the identity of the compiler."""

_PLACE = "compilers"
_STATISTICS = "compilations"
_TREES = "trees"
_MOST_TREES = 6
"""Number of cached build directories; that of a kernel takes 60 MB."""

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
    """Numbers of compilations, and of those whose object was in the cache."""

    compilations: int
    hits: int

    def __str__(self) -> str:
        share = f" ({100 * self.hits // self.compilations} %)" if self.compilations else ""
        return f"compiler cache: {self.hits} of {self.compilations} objects{share}"


class CompilerCache:
    """Cache of compiled objects in `directory`, of at most `limit` bytes.

    Beside single objects it has the build directories of whole trees that were used last.
    """

    def __init__(self, directory: Path, *, limit: int) -> None:
        self._directory = directory
        self._limit = limit

    def build_directory(self, identity: str) -> Path:
        """Return the archive (tar.zst) with a tree's build directory; it may not exist.

        identity: a hash over everything that decides whether make can continue from it.
        """
        return self._directory / _TREES / f"{identity}.tar.zst"

    @contextmanager
    def keeping(self, identity: str) -> Iterator[Path]:
        """Yield the path for writing the archive of a build directory."""
        target = self.build_directory(identity)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            yield draft
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        for path in self._archives()[_MOST_TREES:]:
            path.unlink(missing_ok=True)

    def _archives(self) -> list[Path]:
        """Return the archives of build directories and drafts of killed builds, newest first."""
        paths = (self._directory / _TREES).iterdir()
        return sorted(paths, key=lambda path: path.lstat().st_mtime, reverse=True)

    def prepare(self, workspace: Workspace, compilers: Sequence[str]) -> dict[str, str]:
        """Return the environment for commands in a workspace that call these compilers.

        compilers: names of GCC's programs, as commands call them, for example `gcc`.

        Raises:
            CommandError: one of them is not installed.
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
            # Each workspace has another path, which must be neither in the hash nor in objects:
            # trees are compiled with relative paths, and with -ffile-prefix-map, which ccache
            # supports, if there is debugging information. (CCACHE_BASEDIR would change absolute
            # paths in it.)
            "CCACHE_NOHASHDIR": "1",
            "CCACHE_STATSLOG": str(workspace.directory / _STATISTICS),
        }

    def use(self, workspace: Workspace) -> CacheUse:
        """Return the statistics of the cache for a workspace."""
        try:
            events = workspace.outside(workspace.directory / _STATISTICS).read_text().splitlines()
        except FileNotFoundError:
            events = []
        hits = sum(event in ("direct_cache_hit", "preprocessed_cache_hit") for event in events)
        return CacheUse(compilations=hits + events.count("cache_miss"), hits=hits)
