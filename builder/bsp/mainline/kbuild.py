# SPDX-License-Identifier: MIT
"""Source trees that are configured by Kconfig and built by make: Linux and U-Boot."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.errors import CommandError, StepError
from builder.sandbox.workspace import Workspace
from builder.steps.step import Job, Shell
from builder.untrusted.tree import ForeignTree


class KbuildTree:
    """A source tree in `source`, unpacked from a step's output, and its build directory `build`.

    The build directory is below the sources: make then refers to these by relative paths, and its
    output does not depend on the path of the workspace.

    Attributes:
        epoch: time of the sources' newest change, in seconds since 1970.
        environment: environment of make, for reproducible builds; it includes `compilers`.
    """

    def __init__(
        self,
        job: Job,
        workspace: Workspace,
        package: Path,
        *,
        arch: str,
        cross_compile: str,
        compilers: Mapping[str, str],
    ) -> None:
        self.source = workspace.directory / "source"
        self.build = self.source / "build"
        self._job = job
        self._workspace = workspace
        self.epoch = unpack(job, workspace, package, self.source)
        self.environment: dict[str, str] = {
            **compilers,
            "ARCH": arch,
            "CROSS_COMPILE": cross_compile,
            "KBUILD_BUILD_TIMESTAMP": f"@{self.epoch}",
            "KBUILD_BUILD_USER": "builder",
            "KBUILD_BUILD_HOST": "builder",
            "SOURCE_DATE_EPOCH": str(self.epoch),
            "TZ": "UTC",
        }
        job.run(workspace, "mkdir", self.build)

    def make(
        self, *words: str, build: Path | None = None, extra: Mapping[str, str] | None = None
    ) -> None:
        """Run make with targets and variables; objects go to `build`."""
        self._job.run(
            self._workspace,
            *("make", "--no-print-directory", f"-j{self._job.tools.jobs}"),
            *("-C", str(self.source), f"O={build or self.build}", *words),
            environment=self.environment | dict(extra or {}),
        )

    def configure(self, base: str, fragments: Sequence[Path]) -> None:
        """Write .config from the make target `base` and fragments; later fragments override."""
        self.make(base)
        self._job.run(
            self._workspace,
            *(self.source / "scripts/kconfig/merge_config.sh", "-m", "-O", self.build),
            *(self.build / ".config", *fragments),
            environment=self.environment,
            cwd=self.build,
        )
        self.make("olddefconfig")

    def restore(self, identity: str) -> None:
        """Restore the build directory that `keep` cached under the same identity, if there is one.

        Kbuild records dependencies in it: make compiles an object again if an option that its
        sources use has changed, or its command (Documentation/kbuild).
        """
        cache = self._job.tools.compiler_cache
        if cache is None or not (cached := cache.build_directory(identity)).exists():
            return
        os.utime(cached)  # the cache evicts the least recently used directory first
        try:
            self._job.run(
                self._workspace,
                *("tar", "--extract", "--no-same-owner", "--use-compress-program=zstd -d -T0"),
                *("--directory", self.build, "--file", cached),
            )
        except CommandError:
            self._job.say("discarding the cached build directory, which is damaged")
            cached.unlink(missing_ok=True)
            self._job.run(self._workspace, "find", self.build, "-mindepth", "1", "-delete")
            return
        self._job.say("building incrementally in the cached build directory of these sources")
        # make would increment the build number in .version, which is part of the kernel.
        self._job.run(self._workspace, "rm", "-f", self.build / ".version")

    def keep(self, identity: str) -> None:
        """Cache the build directory for `restore`, if there is a compiler cache."""
        cache = self._job.tools.compiler_cache
        if cache is None:
            return
        with cache.keeping(identity) as archive:
            self._job.run(
                self._workspace,
                *("tar", "--create", "--use-compress-program=zstd -q -1 -T0"),
                *("--directory", self.build, "--file", archive, "."),
            )

    def shell(self, about: str) -> Shell:
        """Return an interactive shell in `build`; `about` describes its contents."""
        return Shell(
            workspace=self._workspace,
            argv=["bash", "-i"],
            cwd=self.build,
            environment=self.environment,
            about=about,
        )

    def read(self, name: str) -> str:
        """Return the text of a file in the build directory."""
        return self._workspace.outside(self.build / name).read_text()


def unpack(job: Job, workspace: Workspace, package: Path, source: Path) -> int:
    """Unpack sources: a tarball, a .deb that contains one, or a source package (3.0 quilt).

    Returns:
        The time of the newest change, in seconds since 1970.

    Raises:
        StepError: there is no tarball, or none that contains one directory with a Makefile.
    """
    job.run(workspace, "mkdir", source)
    extract = ("tar", "--extract", "--no-same-owner", "--directory", source)
    archives = sorted(package.iterdir())
    if archives[0].suffix == ".deb":
        inside = workspace.directory / "package"
        job.run(workspace, "dpkg-deb", "--extract", archives[0], inside)
        found = ForeignTree(workspace.outside(inside)).glob("usr/src/*.tar.*")
        archives = [inside / path.lstrip("/") for path in found]
    tarballs = [path for path in archives if re.search(r"\.tar\.\w+$", path.name)]
    debian = next((path for path in tarballs if ".debian." in path.name), None)
    upstream = next((path for path in tarballs if path != debian), None)
    if upstream is None:
        names = ", ".join(path.name for path in package.iterdir())
        raise StepError(f"the sources contain no tarball, only {names}")
    job.run(workspace, *extract, "--strip-components=1", "--file", upstream)
    newest = source / "Makefile"
    if not workspace.outside(newest).exists():
        raise StepError(
            f"{upstream.name} has no Makefile in its top directory",
            hint="pack the sources as one directory: tar -cf linux-6.1.tar.zst --zstd linux-6.1",
        )
    if debian:
        job.run(workspace, *extract, "--file", debian)
        series = workspace.outside(source / "debian/patches/series")
        for line in series.read_text().splitlines() if series.exists() else ():
            if patch := line.partition("#")[0].strip():
                job.run(
                    workspace,
                    *("patch", "--quiet", "-p1", "--input", source / "debian/patches" / patch),
                    cwd=source,
                )
        newest = source / "debian/changelog"
    return int(job.run(workspace, "stat", "-c", "%Y", newest).strip())
