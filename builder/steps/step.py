# SPDX-License-Identifier: MIT
"""Steps, the units of a build.

A step names everything that its output depends on; the plan makes a fingerprint of that and of
the step's own code. What a step reads without naming it is a bug: its output would be kept
when it must not be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, Protocol, TypeVar

from builder.containers.containers import Containers
from builder.sandbox.compiler_cache import CacheUse, CompilerCache
from builder.sandbox.process import Processes
from builder.sandbox.workspace import Workspace
from builder.store.store import Entry, Store

Shared = TypeVar("Shared")

ROOT_FILESYSTEM = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_CHROOT"),
)
"""Capabilities for work in a root filesystem: files of many owners, chroots, mounts."""


class Step(ABC):
    """One unit of work.

    `name` tells it apart within a plan; `scope` says what it is built for (a board, a SoC
    family, a distribution), so that what changed since its last build can be told.
    """

    packages: Sequence[str] = ()
    """Host packages whose programs the output depends on."""

    fetches: ClassVar[bool] = False
    """Whether it needs the network."""

    wide: ClassVar[bool] = False
    """Whether its work spreads over all processors, as a compilation by make does."""

    capabilities: ClassVar[Sequence[str]] = ()
    """Capabilities that its work needs (capabilities(7), without CAP_); most need none."""

    secrets: Sequence[str] = ()
    """Settings that are never written down in plain."""

    def __init__(self, name: str, *, scope: str, parents: Mapping[str, Step] | None = None) -> None:
        self.name = name
        self.scope = scope
        self.parents = dict(parents or {})

    @abstractmethod
    def settings(self) -> Mapping[str, object]:
        """Return the values that the output depends on; anything that JSON can hold."""

    def files(self) -> Sequence[Path]:
        """Return the files and directories whose content the output depends on."""
        return ()

    @abstractmethod
    def run(self, job: Job) -> None:
        """Do the work: read `job.input(...)`, write into `job.output`."""

    def provenance(
        self,
        output: Path | None,  # noqa: ARG002 - for subclasses
    ) -> Mapping[str, object] | None:
        """Return the source of the output as the manifest lists it; None if the step has none.

        `output` is the directory with the step's output; None if it is not in the store.
        """
        return None

    def notes(
        self,
        output: Path,  # noqa: ARG002 - for subclasses
    ) -> Sequence[str]:
        """Return notes for the user of the image, given the directory with the step's output."""
        return ()

    def shell(
        self,
        job: Job,  # noqa: ARG002 - for those that override it
    ) -> AbstractContextManager[Shell] | None:
        """Open the step's environment for a person; None if there is nothing to look at."""
        return None


@dataclass(frozen=True, kw_only=True)
class Shell:
    """A command that opens a shell in a step's environment, and words on what is there."""

    workspace: Workspace
    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    about: str


class Tools(Protocol):
    """The engine's part of a job, beside its own directories."""

    @property
    def processes(self) -> Processes:
        """The commands that are running."""

    @property
    def jobs(self) -> int:
        """Processors that a step may use."""

    @property
    def containers(self) -> Containers:
        """Who runs containers, for tools that need a system of their own."""

    @property
    def compiler_cache(self) -> CompilerCache | None:
        """The cache of compiled objects; None if it is not to be used."""

    def workspace(
        self, name: str, *, need: int, network: bool = False
    ) -> AbstractContextManager[Workspace]:
        """Open a workspace with room for `need` bytes, on tmpfs where memory allows."""

    def shared(self, create: Callable[[Workspace], Shared]) -> Shared:
        """Return the object that `create` makes, in a workspace that all jobs of a build share.

        It is made when a job first asks for it.
        """


class Job:
    """A step's run: where its inputs are, where its output goes, how it runs commands.

    `cache_use` says how the compiler cache was used; None if it was not.
    """

    def __init__(
        self,
        *,
        inputs: Mapping[str, Entry],
        output: Path,
        log: IO[str],
        store: Store,
        tools: Tools,
        on_line: Callable[[str], object],
    ) -> None:
        self.inputs = inputs
        self.output = output
        self.log = log
        self.store = store
        self.tools = tools
        self.on_line = on_line
        self.cache_use: CacheUse | None = None

    def input(self, name: str) -> Path:
        """Return the directory with the output of the parent called `name`."""
        return self.inputs[name].files

    def entry(self, name: str) -> Entry:
        """Return the store's entry of the parent called `name`."""
        return self.inputs[name]

    def workspace(
        self, name: str, *, need: int, network: bool = False
    ) -> AbstractContextManager[Workspace]:
        """Open a workspace with room for `need` bytes, with or without the network."""
        return self.tools.workspace(name, need=need, network=network)

    @contextmanager
    def compilers(self, workspace: Workspace, *names: str) -> Iterator[Mapping[str, str]]:
        """Give the environment for commands in a workspace that call compilers.

        Objects come from the compiler cache then, if they are in it.
        """
        cache = self.tools.compiler_cache
        if cache is None:
            yield {}
            return
        yield cache.prepare(workspace, names)
        self.cache_use = cache.use(workspace)
        self.say(str(self.cache_use))

    def run(
        self,
        workspace: Workspace,
        *argv: str | Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> str:
        """Run a command in a workspace, its output going to the step's log."""
        return workspace.run(
            argv,
            cwd=cwd,
            environment=environment,
            stdin=stdin,
            log=self.log,
            on_line=self.on_line,
        )

    def say(self, text: str) -> None:
        """Write a line to the step's log and the display."""
        self.log.write(f"{text}\n")
        self.log.flush()
        self.on_line(text)
