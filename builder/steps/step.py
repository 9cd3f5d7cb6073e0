# SPDX-License-Identifier: MIT
"""Steps, the units of work of a build.

A step declares all its inputs; its key is a hash of them and of the step's own code. A step that
reads an undeclared input has a bug: a change of that input would not invalidate its cached output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, Protocol, TypeVar

from builder.containers.containers import Containers
from builder.errors import CommandError, StepError
from builder.sandbox.compiler_cache import CacheUse, CompilerCache
from builder.sandbox.process import Processes
from builder.sandbox.workspace import Workspace
from builder.store.store import Entry, Store

Shared = TypeVar("Shared")

ROOT_FILESYSTEM = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_CHROOT"),
)
"""Capabilities for work in a root filesystem: files of many users, chroots, mounts."""


class Step(ABC):
    """A unit of work with declared inputs and one output.

    name: unique within a plan.
    scope: the board, SoC family or distribution that it is built for. The plan compares a step with
        the last build of the step of this name and scope to explain why it is not cached.
    parents: the steps whose output it reads, by the names by which it reads them.
    """

    packages: Sequence[str] = ()
    """Host packages whose programs produce the output."""

    fetches: ClassVar[bool] = False
    """Whether the step needs the network."""

    wide: ClassVar[bool] = False
    """Whether the step uses all processors, as a compilation by make does."""

    capabilities: ClassVar[Sequence[str]] = ()
    """Capabilities that the step needs (capabilities(7), without CAP_); most steps need none."""

    secrets: Sequence[str] = ()
    """Names of settings whose values are never stored in plain text."""

    def __init__(self, name: str, *, scope: str, parents: Mapping[str, Step] | None = None) -> None:
        self.name = name
        self.scope = scope
        self.parents = dict(parents or {})

    @abstractmethod
    def settings(self) -> Mapping[str, object]:
        """Return the values that the output depends on, as JSON types."""

    def files(self) -> Sequence[Path]:
        """Return the files and directories whose content the output depends on."""
        return ()

    @abstractmethod
    def run(self, job: Job) -> None:
        """Produce the output: read `job.input(...)`, write into `job.output`."""

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
        job: Job,  # noqa: ARG002 - for overriding methods
    ) -> AbstractContextManager[Shell] | None:
        """Open an interactive shell in the step's environment; None if the step has none."""
        return None


@dataclass(frozen=True, kw_only=True)
class Shell:
    """A command that opens a shell in a step's environment, and a description for the user."""

    workspace: Workspace
    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    about: str


class Tools(Protocol):
    """Services that all jobs of a build share."""

    @property
    def processes(self) -> Processes:
        """The running commands."""

    @property
    def jobs(self) -> int:
        """Number of processors that a step may use."""

    @property
    def containers(self) -> Containers:
        """Access to containers, for tools that need another system than the host."""

    @property
    def compiler_cache(self) -> CompilerCache | None:
        """The cache of compiled objects; None if it is disabled."""

    def workspace(
        self, name: str, *, need: int, network: bool = False
    ) -> AbstractContextManager[Workspace]:
        """Open a workspace for `need` bytes, on tmpfs if memory allows."""

    def shared(self, create: Callable[[Workspace], Shared]) -> Shared:
        """Return the build's one object of a kind; `create` makes it on first use.

        The object owns a workspace that all jobs of the build share.
        """


class Job:
    """A run of a step: its inputs, its output directory, its log and its commands.

    inputs: the store's entries of the parents, by the step's names of them.
    output: the directory for the output.
    log: the step's log.
    store: the store, for downloads and large temporary files.
    tools: services that all jobs of the build share.
    on_line: called with each line of output, for the display.
    cache_use: statistics of the compiler cache; None if it was not used.
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
        """Return the output directory of the parent `name`."""
        return self.inputs[name].files

    def entry(self, name: str) -> Entry:
        """Return the store's entry of the parent `name`."""
        return self.inputs[name]

    @contextmanager
    def workspace(self, name: str, *, need: int, network: bool = False) -> Iterator[Workspace]:
        """Open a workspace for `need` bytes, on tmpfs if memory allows.

        Raises:
            StepError: the workspace was killed; the step took that for a result of its commands.
        """
        with self.tools.workspace(name, need=need, network=network) as workspace:
            yield workspace
            workspace.check_alive()

    @contextmanager
    def compiler_workspace(
        self, name: str, compilers: Sequence[str], *, need: int
    ) -> Iterator[tuple[Workspace, Mapping[str, str]]]:
        """Open a workspace for `need` bytes; return it and the environment for `compilers`.

        The compilers, given by the names of their programs, use the compiler cache unless it is
        disabled.
        """
        cache = self.tools.compiler_cache
        with self.workspace(name, need=need) as workspace:
            if cache is None:
                yield workspace, {}
                return
            yield workspace, cache.prepare(workspace, compilers)
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
        """Run a command in a workspace with output to the step's log; return the output."""
        return workspace.run(
            argv,
            cwd=cwd,
            environment=environment,
            stdin=stdin,
            log=self.log,
            on_line=self.on_line,
        )

    def raise_if_killed(self, workspace: Workspace, error: StepError) -> None:
        """Raise a command's error again unless the command itself reported a failure.

        A step may treat a failure as its result, but not the end of a command that was killed: the
        output would be cached.

        Raises:
            StepError: the build was stopped, or the command or its workspace was killed.
        """
        killed = isinstance(error, CommandError) and error.killed
        if self.tools.processes.stopped or killed or not workspace.alive:
            raise error

    def say(self, text: str) -> None:
        """Write a line to the step's log and the display."""
        self.log.write(f"{text}\n")
        self.log.flush()
        self.on_line(text)
