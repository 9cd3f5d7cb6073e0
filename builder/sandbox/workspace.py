# SPDX-License-Identifier: MIT
"""Workspaces: scratch directories, and the namespaces in which commands use them."""

from __future__ import annotations

import os
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from builder.errors import HostError, StepError
from builder.sandbox.disk_space import full_disk_told
from builder.sandbox.process import Processes, clean_environment, run

_OUTSIDE = re.compile(r"/proc/\d+/root(?=/|$)")
"""Beginning of the paths by which this process accesses the files of a workspace."""


def _killed() -> StepError:
    return StepError(
        "the build environment is gone: its first process was killed",
        hint="if memory ran out (see `dmesg`), free some, or use fewer --jobs; then run the same "
        "command again",
    )


@contextmanager
def killed_workspace_reported() -> Iterator[None]:
    """Report an error about a file of a workspace whose namespaces are gone as such.

    Raises:
        StepError: the first process of the workspace's namespaces was killed.
    """
    try:
        yield
    except OSError as error:
        root = _OUTSIDE.match(str(error.filename))
        if root and not os.path.exists(root[0]):  # noqa: PTH110 - Path.exists raises on some errors
            raise _killed() from error
        raise


class Workspace(ABC):
    """An open workspace. Use it as a context manager.

    `directory` is the path of its scratch directory inside the workspace.
    """

    def __init__(self, directory: Path, *, processes: Processes) -> None:
        self.directory = directory
        self._processes = processes

    @property
    def alive(self) -> bool:
        """Whether commands can still run in the workspace."""
        return True

    def check_alive(self) -> None:
        """Check that nothing in the workspace was killed with it.

        Raises:
            StepError: the first process of its namespaces was killed.
        """
        if not self.alive:
            raise _killed()

    @abstractmethod
    def outside(self, path: Path) -> Path:
        """Return the path in this process of a file in the workspace."""

    @abstractmethod
    def enter(
        self, argv: Sequence[str], *, cwd: Path | None = None, network: bool = False
    ) -> list[str]:
        """Return the command line that runs `argv` inside, with the machine's network or not."""

    @abstractmethod
    def close(self) -> None:
        """Release the workspace's resources."""

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        secret: Collection[str] = (),
        cwd: Path | None = None,
        network: bool = False,
        stdin: str | None = None,
        log: IO[str] | None = None,
        on_line: Callable[[str], object] | None = None,
    ) -> str:
        """Run a command inside, as `builder.sandbox.process.run` does.

        With `network` it has the machine's network, even if the workspace has none.

        `environment` is added to `clean_environment()`. Logs and errors do not show the values of
        its variables in `secret`.
        """
        words = [str(word) for word in argv]
        extra = dict(environment or {})
        shown = [f"{name}={'...' if name in secret else value}" for name, value in extra.items()]
        with full_disk_told(self.directory.parent):
            return run(
                self.enter(words, cwd=cwd or self.directory, network=network),
                processes=self._processes,
                environment=clean_environment(extra),
                stdin=stdin,
                log=log,
                on_line=on_line,
                replay=["env", *shown, *words] if extra else words,
            )

    def interactive(
        self, argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str]
    ) -> None:
        """Run a command inside with this process's terminal, to its end."""
        extra = {"TERM": os.environ.get("TERM", "dumb"), **environment}
        subprocess.run(self.enter(argv, cwd=cwd), env=clean_environment(extra), check=False)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class PlainWorkspace(Workspace):
    """A plain directory, for processes in a container, which is a sandbox already."""

    def outside(self, path: Path) -> Path:
        """Return the path itself."""
        return path

    def enter(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        network: bool = False,  # noqa: ARG002 - the container decides on the network
    ) -> list[str]:
        """Return the command line that runs `argv` in a directory."""
        return ["env", *(f"--chdir={each}" for each in [cwd] if each), "--", *argv]

    def close(self) -> None:
        """Do nothing: remaining processes end with the container."""


class PrivateWorkspace(Workspace):
    """A scratch directory in mount, process and network namespaces of its own.

    Its mounts and processes disappear when it closes, and when the builder dies in any way: the
    namespaces' first process dies with the builder, and then the kernel removes the rest
    (pid_namespaces(7), mount_namespaces(7)).

    With `tmpfs_bytes` the directory is a tmpfs of at most that many bytes, otherwise a directory on
    disk. Without `network` no process inside has a network.
    """

    def __init__(
        self,
        directory: Path,
        *,
        processes: Processes,
        tmpfs_bytes: int | None = None,
        network: bool = False,
    ) -> None:
        super().__init__(directory, processes=processes)
        self._network = network
        mount = (
            f'mount -t tmpfs -o mode=0755,size={tmpfs_bytes} builder "$0" && '
            if tmpfs_bytes
            else ""
        )
        self._holder = processes.start(
            [
                *("unshare", "--mount", "--propagation", "private"),
                *([] if network else ["--net"]),
                *("--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"),
                *("sh", "-c", f"{mount}echo ready && exec sleep infinity", str(directory)),
            ],
            environment=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._holder.stdout is not None
        answer = self._holder.stdout.readline().strip()
        if answer != "ready":
            self.close()
            raise HostError(
                f"cannot make a private namespace: {answer or 'no answer'}",
                hint="run as root, outside of containers that forbid unshare(2) and mount(2)",
            )

    @property
    def alive(self) -> bool:
        """Whether the first process of the namespaces runs."""
        return self._holder.poll() is None

    def outside(self, path: Path) -> Path:
        """Return the path in this process of a file in the workspace."""
        return Path(f"/proc/{self._holder.pid}/root") / path.relative_to("/")

    def enter(
        self, argv: Sequence[str], *, cwd: Path | None = None, network: bool = False
    ) -> list[str]:
        """Return the command line that runs `argv` inside, with the machine's network or not."""
        namespaces = f"/proc/{self._holder.pid}/ns"
        return [
            "nsenter",
            f"--mount={namespaces}/mnt",
            f"--pid={namespaces}/pid_for_children",
            *([] if self._network or network else [f"--net={namespaces}/net"]),
            *(f"--wd={self.outside(cwd)}" for cwd in [cwd] if cwd),
            "--",
            *argv,
        ]

    def close(self) -> None:
        """Kill all processes inside and remove the mounts."""
        self._holder.kill()
        self._holder.wait()
        if self._holder.stdout:
            self._holder.stdout.close()
        self._processes.forget(self._holder)
