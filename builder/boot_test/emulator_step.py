# SPDX-License-Identifier: MIT
"""Build step for a newer QEMU than the host's, with its libraries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from builder.apt.archive import Archive
from builder.boot_test.qemu_release import QemuRelease
from builder.errors import StepError
from builder.rootfs.mmdebstrap import keep_downloads, options
from builder.sandbox.workspace import Workspace
from builder.steps.architectures import MACHINES
from builder.steps.step import ROOT_FILESYSTEM, Job, Step

NEED = 1 << 29
"""Bytes that the unpacked packages take."""

PROGRAMS = "bin"
"""Directory of the output with the start scripts."""

# QEMU runs with its own loader and libraries, found relative to this script; it uses nothing of the
# host but the kernel.
_START = """\
#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
exec "$here/lib/{loader}" --library-path "$here/lib" "$here/libexec/{program}" "$@"
"""


class QemuPrograms(Step):
    """QEMU's programs, extracted from the packages of an archive without installing them.

    Output: `bin/` with a start script for each program, `libexec/` with the programs, and `lib/`
    with the loader of the suite's C library and all libraries that the programs load.
    """

    fetches = True
    capabilities = ROOT_FILESYSTEM
    packages = ("mmdebstrap",)

    def __init__(self, archive: Archive, source: QemuRelease) -> None:
        super().__init__("qemu", scope=archive.architecture.value)
        self.archive = archive
        self.source = source

    def settings(self) -> Mapping[str, object]:
        return {
            "architecture": self.archive.architecture.value,
            "distribution": self.archive.distribution.name,
            "archive": dict(self.archive.pockets),
            "package": self.source.package,
            "programs": list(self.source.programs),
        }

    def run(self, job: Job) -> None:
        machine = MACHINES[self.archive.architecture]
        loader = Path(machine.loader).name
        with job.workspace("qemu", need=NEED, network=True) as workspace:
            root = workspace.directory / "root"
            self._unpack(job, workspace, root)
            libraries = f"{root}/usr/lib/{machine.triplet}"
            start = [f"{libraries}/{loader}", "--library-path", libraries]
            needed: set[str] = set()
            for name in self.source.programs:
                program = f"{root}/usr/bin/{name}"
                listed = job.run(workspace, *start, "--list", program)
                needed |= libraries_in(listed, libraries)
                self._add(job, workspace, name, loader, program)
            folder = job.output / "lib"
            folder.mkdir()
            # Copy links as files, under the names that the programs load.
            job.run(
                workspace,
                *("cp", "--dereference", "--preserve=mode", "--target-directory", folder),
                *(f"{libraries}/{name}" for name in sorted(needed)),
            )
            for name in self.source.programs:
                job.say(job.run(workspace, job.output / PROGRAMS / name, "--version"))

    def _unpack(self, job: Job, workspace: Workspace, root: Path) -> None:
        """Extract the package and its dependencies, without running their scripts."""
        job.run(
            workspace,
            *("mmdebstrap", "--verbose", "--variant=extract", "--format=directory"),
            f"--include={self.source.package}",
            *options(self.archive, job.store, workspace.directory, say=job.say),
            *(f"--aptopt={option}" for option in self.archive.preferences()),
            f"--extract-hook={keep_downloads(self.archive, job.store, workspace.directory)}",
            *(self.archive.distribution.model.suite, root, "-"),
            environment={"TMPDIR": str(workspace.directory)},
            stdin=self.archive.binary_sources(),
        )

    def _add(self, job: Job, workspace: Workspace, name: str, loader: str, program: str) -> None:
        programs, scripts = job.output / "libexec", job.output / PROGRAMS
        for folder in (programs, scripts):
            folder.mkdir(exist_ok=True)
        job.run(workspace, "cp", program, programs / name)
        script = scripts / name
        script.write_text(_START.format(loader=loader, program=name))
        script.chmod(0o755)


def libraries_in(listed: str, folder: str) -> set[str]:
    """Return the names of the libraries in the output of a loader's `--list` (ld.so(8)).

    Raises:
        StepError: a library is missing, or is not in `folder`.
    """
    names: set[str] = set()
    for line in listed.splitlines():
        asked, arrow, rest = line.strip().partition(" => ")
        name = Path(asked).name  # the loader itself is listed with its path
        if arrow:
            if Path(rest.split(" (")[0]) != Path(folder) / name:
                raise StepError(f"QEMU's library {name} is not in its packages: {rest}")
            names.add(name)
    return names
