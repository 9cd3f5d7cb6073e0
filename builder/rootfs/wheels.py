# SPDX-License-Identifier: MIT
"""Python packages of a lock file, fetched for the target without running anything of it."""

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
"""In the step's output: the files of all wheels, as they lie in an image."""

COMPILED = "compiled"
"""In the step's output, if byte code is among them."""

COMPILE = ("-m", "compileall", "-q", "--invalidation-mode", "checked-hash")
"""Arguments of Python that compile byte code which holds whatever time its source has."""

# Platform tags of PEP 599/600 wheels that run on each architecture's distributions: the oldest
# of them (jammy) has glibc 2.35.
_GLIBC_MINORS = range(35, 16, -1)


class Wheels(Step):
    """The wheels of a lock file, each checked against its hash, and what they unpack to."""

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
            # By hash, not by time: the times of files in an image are not those of now. The byte
            # code is the same on every architecture; without that Python it is left to the recipe.
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
            # A cache would be a second store, not verified by ours.
            environment={"PIP_NO_CACHE_DIR": "1"},
        )

    def _install(self, job: Job, tree: Path) -> str:
        """Unpack all wheels into a tree as they lie in an image; return where packages are.

        That is where the distribution's Python looks for local packages.
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
    """Return the platform tags of wheels that run on each architecture, the preferred one first."""
    machine = MACHINES[architecture].uname
    return [*(f"manylinux_2_{minor}_{machine}" for minor in _GLIBC_MINORS), f"linux_{machine}"]


def local_packages(python: str) -> str:
    """Return the image's directory of packages that are not the distribution's."""
    return f"/usr/local/lib/python{python}/dist-packages"
