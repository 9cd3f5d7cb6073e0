# SPDX-License-Identifier: MIT
"""The system in which PetaLinux runs, and sessions that run commands in its containers.

PetaLinux, the eSDK that it unpacks into projects, and bitbake's output contain the paths where they
were made. So these have fixed paths in containers, wherever the store is.
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
"""Directory of the installation, in containers."""

TOOL = INSTALLED / "tool"
"""PetaLinux itself, in containers: the installer creates this directory and so owns it."""

INPUT = Path("/petalinux/input")
"""The directory of input files, in containers."""

WORK = Path("/petalinux/work")
"""The directory that containers write to."""

PROJECT = WORK / "project"
"""The project, in containers."""

SSTATE, DOWNLOADS = Path("/petalinux/sstate-cache"), Path("/petalinux/downloads")
"""bitbake's caches, in containers; all projects of an installer share them."""


class Explain(Protocol):
    """Function that returns the error to show for the error of a failed command."""

    def __call__(
        self,
        error: CommandError,
        output: str,
        *,
        read_log: Callable[[str], str | None],
        keep_log: Callable[[str, str], str | None],
    ) -> BuildError:
        """Return the error to show.

        Args:
            error: the command's error.
            output: the command's whole output.
            read_log: returns the text of a file by its path in the container; None without one.
            keep_log: saves such a file under a name; returns its path on this machine.
        """


@dataclass(frozen=True, kw_only=True)
class System:
    """The system in which a release of PetaLinux runs: a container image with a distribution.

    release: the release of PetaLinux.
    bases: the possible distributions, the best first.
    folder: directory with the Dockerfile.
    shared_by: name of bitbake's caches, which all builds with the same installer share.
    offline: whether containers have no network.
    explain: function that explains failed commands.
    """

    release: Release
    bases: Sequence[NamedDistribution]
    folder: Path
    shared_by: str
    offline: bool
    explain: Explain

    def packages(self, base: NamedDistribution) -> list[str]:
        """Return the packages that are installed in a distribution."""
        return self.release.packages(base.name, base.model.family)

    def settings(self) -> Mapping[str, object]:
        """Return the settings for the key of a step."""
        return {"bases": {base.name: self.packages(base) for base in self.bases}}

    def recipe(self, distribution: NamedDistribution, user: str) -> ImageRecipe:
        """Return the recipe of the image, for commands of a user ("UID:GID")."""
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
        """Return the image, with the distribution in which PetaLinux is or will be installed."""
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
            job.say(chosen.message(self.release.version))
        return chosen.image

    def shared(self, job: Job) -> list[Mount]:
        """Return the mounts of bitbake's caches, whose directories are created if necessary."""
        shared = job.store.root / "petalinux" / self.shared_by
        mounts = [Mount(source=shared / path.name, target=path) for path in (SSTATE, DOWNLOADS)]
        for mount in mounts:
            mount.source.mkdir(parents=True, exist_ok=True)
        return mounts


class ContainerStep(Step):
    """A step that opens a session: its commands run in containers, whatever the engine."""


class Session:
    """An open session; `work` is the host's path of WORK."""

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
        """The host's path of PROJECT."""
        return self.work / PROJECT.relative_to(WORK)

    def open_to_user(self, path: Path) -> None:
        """Make the containers' user the owner of a directory, so that commands can write to it."""
        if path.stat().st_uid != self._uid:
            for each in (path, *path.rglob("*")):
                os.chown(each, self._uid, self._gid, follow_symlinks=False)
        path.chmod(0o755)

    def petalinux(self, *argv: str | Path, cwd: Path = PROJECT) -> str:
        """Run a command of PetaLinux.

        Raises:
            BuildError: the command failed; the message has the cause if it is known.
        """
        words = [str(word) for word in argv]
        # settings.sh would use arguments of the shell as PetaLinux's path: there are none. Its exit
        # status has no meaning.
        line = f"source {TOOL}/settings.sh; exec {shlex.join(words)}"
        return self.run("bash", "-c", line, cwd=cwd, called=words[0])

    def run(self, *argv: str | Path, cwd: Path = WORK, called: str = "") -> str:
        """Run a command, which is called `called` in errors.

        Raises:
            BuildError: the command failed.
        """
        words = [str(word) for word in argv]
        output: list[str] = []

        def on_line(line: str) -> None:
            output.append(f"{line}\n")
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
                named, "".join(output), read_log=self._read, keep_log=self._keep
            ) from error

    def clean(self) -> None:
        """Remove the commands' files if only their user can."""
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
        """Return the text of a file by its path in the container; None if it does not exist."""
        inside = Path(path)
        if not inside.is_relative_to(WORK):
            return None
        try:
            return (self.work / inside.relative_to(WORK)).read_text(errors="replace")
        except OSError:
            return None

    def _keep(self, path: str, name: str) -> str | None:
        """Copy a file of the container beside the step's log; return the copy's path."""
        text = self._read(path)
        if text is None:
            return None
        log = Path(self.job.log.name)
        copy = log.with_name(f"{log.stem}.{name}.log")
        copy.write_text(text)
        return str(copy)


@contextmanager
def session(
    job: Job,
    system: System,
    *,
    tool: Path,
    install: bool = False,
    inputs: Mapping[str, Path] | None = None,
) -> Iterator[Session]:
    """Open a session; at its end, all its files except bitbake's caches are removed.

    Args:
        job: the step's job.
        system: the system in which commands run.
        tool: output of the step that installs PetaLinux.
        install: whether this is that step.
        inputs: input files and directories, by their names below INPUT.
    """
    with job.store.scratch("petalinux") as folder:
        mounts = [Mount(source=tool, target=INSTALLED, read_only=not install)]
        mounts += [
            Mount(source=path, target=INPUT / name, read_only=True)
            for name, path in (inputs or {}).items()
        ]
        mounts += system.shared(job)
        log = Path(job.log.name)
        for old in log.parent.glob(f"{log.stem}.*.do_*.log"):  # of an earlier failure
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
    """Return the environment of commands in containers."""
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
