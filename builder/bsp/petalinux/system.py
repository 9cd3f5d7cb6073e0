# SPDX-License-Identifier: MIT
"""The system that PetaLinux runs in, and a session in it: commands in containers.

PetaLinux, the eSDK that it unpacks into projects, and all that bitbake makes have the paths in them
under which they came to be. So these have fixed paths in containers, wherever the store is.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.apt.base_image import base_of
from builder.bsp.petalinux.base import choose, noted
from builder.bsp.petalinux.releases import Release
from builder.containers.containers import Container, ImageRecipe, Mount
from builder.errors import BuildError, CommandError
from builder.sandbox.process import PASSED_ON, SEARCH_PATH
from builder.spec.resolve import NamedDistribution
from builder.steps.step import Job, Step

INSTALLED = Path("/petalinux/installed")
"""The directory that holds PetaLinux, in containers."""

TOOL = INSTALLED / "tool"
"""PetaLinux itself, in containers: its installer makes this directory, and so owns it."""

INPUT = Path("/petalinux/input")
"""The directory of input files, in containers."""

WORK = Path("/petalinux/work")
"""The directory that containers write to."""

PROJECT = WORK / "project"
"""The project, in containers."""

SSTATE, DOWNLOADS = Path("/petalinux/sstate-cache"), Path("/petalinux/downloads")
"""bitbake's caches, in containers; all projects of an installer share them."""


class Explain(Protocol):
    """Makes the error to show of the one that a command ended with."""

    def __call__(
        self,
        error: CommandError,
        output: str,
        *,
        read_log: Callable[[str], str | None],
        keep_log: Callable[[str, str], str | None],
    ) -> BuildError:
        """`output` is all that it said; `read_log` reads files by their paths in the container.

        `keep_log` keeps one of them under a name of its own, and returns its path on this machine.
        """


@dataclass(frozen=True, kw_only=True)
class System:
    """The system that a release of PetaLinux runs in: a container of packages of a distribution.

    bases: the distributions that it may be, the best first.
    folder: directory with the Dockerfile.
    shared_by: name of what builds share between them: the release and which installer of it.
    offline: whether it has to do without the network.
    """

    release: Release
    bases: Sequence[NamedDistribution]
    folder: Path
    shared_by: str
    offline: bool
    explain: Explain

    def packages(self, base: NamedDistribution) -> list[str]:
        """Return the packages that are in it, of a distribution."""
        return self.release.packages(base.name, base.model.family)

    def settings(self) -> Mapping[str, object]:
        """Return what tells it apart from others."""
        return {"bases": {base.name: self.packages(base) for base in self.bases}}

    def recipe(self, distribution: NamedDistribution, user: str) -> ImageRecipe:
        """Return what its image is made of, for commands of a user ("UID:GID")."""
        base = base_of(distribution)
        uid, _, gid = user.partition(":")
        return ImageRecipe(
            name=f"petalinux-{self.release.version}",
            distribution=distribution.name,
            base=base.image,
            suite=base.suite,
            sources=base.sources,
            problem=base.problem,
            remedy=base.remedy,
            folder=self.folder,
            arguments={
                "PACKAGES": " ".join(self.packages(distribution)),
                "USER_ID": uid,
                "GROUP_ID": gid,
            },
        )

    def image(self, job: Job, *, tool: Path, install: bool) -> str:
        """Return its image, in the distribution in which PetaLinux is installed, or will be."""
        containers = job.tools.containers

        def make(distribution: NamedDistribution) -> str:
            return containers.image(
                self.recipe(distribution, containers.user),
                processes=job.tools.processes,
                log=job.log,
                say=job.say,
                offline=self.offline,
            )

        before = None if install else noted(tool)
        known = [base for base in self.bases if before and base.name == before.distribution]
        chosen = choose(known or self.bases, make)
        if install:
            chosen.note(tool)
            job.say(chosen.said(self.release.version))
        return chosen.image

    def shared(self, job: Job) -> list[Mount]:
        """Return the directories that builds share, which are made if need be."""
        shared = job.store.root / "petalinux" / self.shared_by
        mounts = [Mount(source=shared / path.name, target=path) for path in (SSTATE, DOWNLOADS)]
        for mount in mounts:
            mount.source.mkdir(parents=True, exist_ok=True)
        return mounts


class ContainerStep(Step):
    """A step that opens a session: its commands run in containers, whatever the engine is."""


class Session:
    """An open session: `work` is this machine's path of WORK."""

    def __init__(
        self, job: Job, system: System, *, image: str, work: Path, mounts: Sequence[Mount]
    ) -> None:
        self.job = job
        self.system = system
        self.work = work
        self._containers = job.tools.containers
        self._mounts = [Mount(source=work, target=WORK), *mounts]
        self._image = image
        for path in (work, work / "home"):
            path.mkdir(exist_ok=True)
            self.open_to_user(path)

    @property
    def project(self) -> Path:
        """This machine's path of PROJECT."""
        return self.work / PROJECT.relative_to(WORK)

    def open_to_user(self, path: Path) -> None:
        """Let commands write into a directory, which is theirs from then on, and nobody else's."""
        if path.stat().st_uid != self._uid:
            for each in (path, *path.rglob("*")):
                os.chown(each, self._uid, self._gid, follow_symlinks=False)
        path.chmod(0o755)

    def petalinux(self, *argv: str | Path, cwd: Path = PROJECT) -> str:
        """Run a command of PetaLinux.

        Raises:
            BuildError: it failed; the error says why, as far as that is known.
        """
        words = [str(word) for word in argv]
        # settings.sh takes the arguments of whoever sources it for PetaLinux's place: there are
        # none. Its status is that of whatever comes last in it.
        line = f"source {TOOL}/settings.sh; exec {shlex.join(words)}"
        return self.run("bash", "-c", line, cwd=cwd, called=words[0])

    def run(self, *argv: str | Path, cwd: Path = WORK, called: str = "") -> str:
        """Run any command; errors call it `called`."""
        words = [str(word) for word in argv]
        said: list[str] = []

        def on_line(line: str) -> None:
            said.append(f"{line}\n")
            self.job.on_line(line)

        container = Container(
            image=self._image,
            argv=words,
            user=self._containers.user,
            mounts=self._mounts,
            environment=_environment(),
            cwd=cwd,
            network=not self.system.offline,
        )
        try:
            return self._containers.run(
                container, processes=self.job.tools.processes, log=self.job.log, on_line=on_line
            )
        except CommandError as error:
            named = CommandError(
                f"{called or Path(words[0]).name} ended with status {error.status}",
                replay=error.replay,
                status=error.status,
                details=error.details,
            )
            raise self.system.explain(
                named, "".join(said), read_log=self._read, keep_log=self._keep
            ) from error

    def clean(self) -> None:
        """Remove what commands wrote, if that takes their user."""
        if os.geteuid() != self._uid:
            # An interrupted build starts no more containers: root removes the rest.
            with suppress(BuildError):
                self.run("find", WORK, "-mindepth", "1", "-delete")

    @property
    def _uid(self) -> int:
        return int(self._containers.user.partition(":")[0])

    @property
    def _gid(self) -> int:
        return int(self._containers.user.partition(":")[2])

    def _read(self, path: str) -> str | None:
        """Return the text of a file by its path in the container; None without one."""
        inside = Path(path)
        if not inside.is_relative_to(WORK):
            return None
        try:
            return (self.work / inside.relative_to(WORK)).read_text(errors="replace")
        except OSError:
            return None

    def _keep(self, path: str, name: str) -> str | None:
        """Keep a file of the container, which is gone with the session, beside the step's log."""
        text = self._read(path)
        if text is None:
            return None
        log = Path(self.job.log.name)
        kept = log.with_name(f"{log.stem}.{name}.log")
        kept.write_text(text)
        return str(kept)


@contextmanager
def session(
    job: Job,
    system: System,
    *,
    tool: Path,
    install: bool = False,
    inputs: Mapping[str, Path] | None = None,
) -> Iterator[Session]:
    """Open a session; at its end nothing is left of what it wrote, but what was shared.

    Args:
        job: the step's.
        system: where it runs.
        tool: output of the step that installs PetaLinux.
        install: whether this is that step.
        inputs: what containers find below INPUT, by name.
    """
    given = inputs or {}
    with job.store.scratch("petalinux") as folder:
        mounts = [Mount(source=tool, target=INSTALLED, read_only=not install)]
        mounts += [
            Mount(source=path, target=INPUT / name, read_only=True) for name, path in given.items()
        ]
        mounts += system.shared(job)
        log = Path(job.log.name)
        for old in log.parent.glob(f"{log.stem}.*.do_*.log"):  # of a failure before
            old.unlink()
        image = system.image(job, tool=tool, install=install)
        opened = Session(job, system, image=image, work=folder / "work", mounts=mounts)
        for mount in system.shared(job):
            opened.open_to_user(mount.source)
        try:
            yield opened
        finally:
            opened.clean()


def _environment() -> dict[str, str]:
    """Return the environment of commands."""
    proxies = [name for name in PASSED_ON if name.lower().endswith("_proxy")]
    return {
        "PATH": SEARCH_PATH,
        "HOME": str(WORK / "home"),
        "USER": "petalinux",
        "LOGNAME": "petalinux",
        "SHELL": "/bin/bash",
        "LANG": "en_US.UTF-8",
        "LC_ALL": "en_US.UTF-8",
        **{name: os.environ[name] for name in proxies if name in os.environ},
    }
