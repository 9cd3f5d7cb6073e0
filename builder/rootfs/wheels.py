# SPDX-License-Identifier: MIT
"""Python packages of a lock file, downloaded and unpacked without running their code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

from builder.errors import StepError
from builder.sandbox.workspace import Workspace
from builder.spec.models import Architecture
from builder.steps.architectures import MACHINES
from builder.steps.layer_archive import pack
from builder.steps.step import Job, Step

INSTALLED = "installed.tar.zst"
"""In the step's output: an archive of the files of all wheels, at their paths in an image."""

COMPILED = "compiled"
"""In the step's output: an empty file, present if the archive contains byte code."""

COMPILE = ("-m", "compileall", "-q", "--invalidation-mode", "checked-hash")
"""Python's arguments to compile byte code that stays valid whatever the source's time is."""

# Minor versions of glibc in platform tags (PEP 599, 600) that all distributions support: the
# oldest (jammy) has glibc 2.35.
_GLIBC_MINORS = range(35, 16, -1)


class Wheels(Step):
    """The wheels of a lock file, each verified by its hash, and an archive of their files."""

    fetches = True

    def __init__(
        self, name: str, lock: Path, *, python: str, architecture: Architecture, scope: str
    ) -> None:
        super().__init__(name, scope=scope)
        self.lock = lock
        self.python = python
        self.architecture = architecture

    def settings(self) -> Mapping[str, object]:
        return {"python": self.python, "architecture": self.architecture.value}

    def files(self) -> Sequence[Path]:
        return [self.lock]

    def run(self, job: Job) -> None:
        with job.workspace("wheels", need=1 << 30, network=True) as workspace:
            self._download(job, workspace)
            tree = workspace.directory / "tree"
            workspace.outside(tree).mkdir()
            packages = self._install(job, workspace.outside(tree))
            # Validated by hash, since files in an image get other times. Byte code does not depend
            # on the architecture; if the host lacks this Python, the recipe's layer compiles it.
            native = shutil.which(f"python{self.python}", path="/usr/local/bin:/usr/bin:/bin")
            if native:
                job.run(
                    workspace,
                    *(native, "-I", *COMPILE, "-j0", "-s", tree, "-p", "/", f"{tree}{packages}"),
                )
                (job.output / COMPILED).touch()
            pack(workspace, tree, job.output / INSTALLED, epoch=0, of_root=True, log=job.log)

    def _download(self, job: Job, workspace: Workspace) -> None:
        job.run(
            workspace,
            *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "--only-binary=:all:", "--progress-bar=off"),
            *("--implementation", "cp", "--python-version", self.python),
            *(word for tag in platform_tags(self.architecture) for word in ("--platform", tag)),
            *("--requirement", self.lock, "--dest", job.output),
            # pip's cache would be a second store that is not verified.
            environment={"PIP_NO_CACHE_DIR": "1"},
        )

    def _install(self, job: Job, tree: Path) -> str:
        """Unpack all wheels at their paths in an image; return the directory of the packages.

        The distribution's Python searches this directory for local packages.
        """
        packages = local_packages(self.python)
        destination = SchemeDictionaryDestination(
            {
                "purelib": packages,
                "platlib": packages,
                "headers": f"/usr/local/include/python{self.python}",
                "scripts": "/usr/local/bin",
                "data": "/usr/local",
            },
            interpreter="/usr/bin/python3",
            script_kind="posix",
            destdir=str(tree),
        )
        for path in sorted(job.output.glob("*.whl")):
            job.say(f"installing {path.name}")
            with WheelFile.open(path) as wheel:
                try:
                    install(wheel, destination, {"INSTALLER": b"zynq-sd-builder"})
                except FileExistsError as error:
                    raise StepError(f"{path.name}: {error}") from error
        return packages


def platform_tags(architecture: Architecture) -> list[str]:
    """Return the platform tags of wheels that run on an architecture, the preferred one first."""
    machine = MACHINES[architecture].uname
    return [*(f"manylinux_2_{minor}_{machine}" for minor in _GLIBC_MINORS), f"linux_{machine}"]


def local_packages(python: str) -> str:
    """Return the image's directory of Python packages from outside the distribution."""
    return f"/usr/local/lib/python{python}/dist-packages"
