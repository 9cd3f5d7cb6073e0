# SPDX-License-Identifier: MIT
"""Docker daemon: it builds images, and runs containers that are removed afterwards."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container as DockerContainer
from docker.types import Mount as BindMount
from docker.utils import parse_host
from docker.utils.socket import frames_iter

from builder.containers.containers import Container, ImageRecipe, not_root
from builder.containers.images import NAME, make_image
from builder.containers.process_identity import read_label, this_process
from builder.containers.redaction import passwords_hidden
from builder.errors import CommandError, HostError, Interrupted
from builder.sandbox.process import Processes, Transcript

_OWNER = f"{NAME}.owner"
"""Label with the process that a container belongs to."""
_OLD = timedelta(days=1)

_SECCOMP = Path(__file__).with_name("seccomp.json")
"""The seccomp profile of containers that work in root filesystems."""


class Docker:
    """Client of the daemon at DOCKER_HOST or the default socket.

    Containers belong to this process. A process of the same user removes those of processes that
    have ended (`sweep`). Use it as a context manager, or close it.
    """

    def __init__(self) -> None:
        """Connect to the daemon.

        Raises:
            HostError: no daemon answers, or it cannot be used.
        """
        try:
            _probe()
            self._client = docker.from_env()
        except (DockerException, OSError) as error:
            raise _unreachable(error) from error
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        with _as_host_errors():
            info = self._client.info()
        if any("rootless" in option for option in info.get("SecurityOptions", ())):
            raise HostError(
                "the Docker daemon is rootless, so it cannot make the devices and owners of a root "
                "filesystem",
                hint="use the system's daemon (DOCKER_HOST=unix:///var/run/docker.sock)",
            )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def __enter__(self) -> Docker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def user(self) -> str:
        """User of commands that refuse to run as root ("UID:GID")."""
        return not_root(os.getuid(), os.getgid())

    def image(
        self,
        recipe: ImageRecipe,
        *,
        processes: Processes,
        log: IO[str],
        say: Callable[[str], object],
        offline: bool = False,
    ) -> str:
        """Return the tag of a recipe's image, and build it first if it does not exist."""
        with _as_host_errors():
            return make_image(
                self._client, recipe, processes=processes, log=log, say=say, offline=offline
            )

    def run(
        self,
        container: Container,
        *,
        processes: Processes,
        log: IO[str] | None = None,
        on_line: Callable[[str], object] | None = None,
    ) -> str:
        """Run a command in a container to its end and return its standard output and error."""
        command = shlex.join(container.argv)
        transcript = Transcript(command, log=log, on_line=on_line)
        with self.started(container) as running, processes.registered(running):
            for line in running.lines():
                transcript.add(line)
            status = running.wait()
        if processes.stopped:
            raise Interrupted("interrupted")
        if status != 0:
            raise CommandError(
                f"{Path(container.argv[0]).name} ended with status {status}",
                replay=command,
                status=status,
                details=transcript.tail,
            )
        return transcript.text

    @contextmanager
    def started(
        self, container: Container, *, terminal: bool = False, stdin: bool = False
    ) -> Iterator[RunningContainer]:
        """Start a container, which is removed when the context ends.

        Args:
            container: its description.
            terminal: whether it has a terminal of its own.
            stdin: whether its standard input can be written to.
        """
        with passwords_hidden(container) as hidden:
            created = self._created(hidden, terminal=terminal, stdin=stdin)
            stream = None
            try:
                with _as_host_errors():
                    # Attached before the start, so that no output is missed.
                    stream = self._client.api.attach_socket(
                        str(created.id),
                        params={"stdout": 1, "stderr": 1, "stream": 1, "stdin": int(stdin)},
                    )
                    created.start()
                yield RunningContainer(created, stream, terminal=terminal)
            finally:
                with suppress(NotFound, APIError):
                    created.remove(force=True, v=True)
                if stream:
                    stream._sock.close()  # noqa: SLF001 - closing `stream` leaves that open
                    stream.close()

    def _created(self, container: Container, *, terminal: bool, stdin: bool) -> DockerContainer:
        with _as_host_errors():
            return self._client.containers.create(
                container.image,
                [*container.argv],
                name=f"{NAME}-{os.getpid()}-{secrets.token_hex(3)}",
                labels={NAME: "container", _OWNER: this_process().label},
                user=container.user,
                environment={**container.environment},
                working_dir=str(container.cwd),
                mounts=[
                    BindMount(str(m.target), str(m.source), type="bind", read_only=m.read_only)
                    for m in container.mounts
                ],
                network_mode="bridge" if container.network else "none",
                cap_drop=["ALL"],
                cap_add=[*container.capabilities],
                security_opt=_security(container.capabilities),
                init=True,
                tty=terminal,
                stdin_open=stdin,
            )

    def sweep(self) -> None:
        """Remove containers that killed processes of this user have left.

        Processes on other machines cannot be checked. Their containers count as left when they have
        not run for a day, because a living process removes its containers when they end.
        """
        with _as_host_errors():
            for left in self._client.containers.list(
                all=True, filters={"label": _OWNER}, ignore_removed=True
            ):
                owner = read_label(left.labels[_OWNER])
                if owner and (owner.has_ended() or (owner.user == os.getuid() and _is_old(left))):
                    with suppress(NotFound, APIError):
                        left.remove(force=True, v=True)


class RunningContainer:
    """A started container: its output, its end, and signals to it."""

    def __init__(self, container: DockerContainer, stream: Any, *, terminal: bool) -> None:
        self._container = container
        self._stream = stream
        self._terminal = terminal

    def output(self) -> Iterator[tuple[int, bytes]]:
        """Yield the command's output as it arrives, each piece with 1 (stdout) or 2 (stderr)."""
        yield from frames_iter(self._stream, self._terminal)  # type: ignore[no-untyped-call]

    def lines(self) -> Iterator[str]:
        """Yield the lines of both streams."""
        rest = b""
        for _, data in self.output():
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield f"{line.decode(errors='replace')}\n"
        if rest:
            yield rest.decode(errors="replace")

    def write(self, data: bytes) -> None:
        """Write to the command's standard input."""
        self._stream._sock.sendall(data)  # noqa: SLF001 - the SDK's own way to get at it

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of the container's terminal."""
        with suppress(NotFound, APIError):
            self._container.resize(height=rows, width=columns)

    def signal(self, name: str) -> None:
        """Send a signal to the command."""
        with suppress(NotFound, APIError):
            self._container.kill(signal=name)

    def kill(self) -> None:
        """Kill all processes in the container."""
        self.signal("SIGKILL")

    def wait(self) -> int:
        """Wait for the command to end, and return its status."""
        with _as_host_errors():
            return int(self._container.wait(timeout=None)["StatusCode"])


def _is_old(container: DockerContainer) -> bool:
    """Return whether a container has not been running for at least a day."""
    if container.status not in ("created", "exited", "dead"):
        return False
    # Both begin like 2024-05-01T10:20:30, in UTC. A container that never started has the year 1 as
    # its end.
    ended = max(container.attrs["Created"], container.attrs["State"]["FinishedAt"])
    return bool(ended < (datetime.now(timezone.utc) - _OLD).isoformat(timespec="seconds"))


def _probe() -> None:
    """Check that a daemon listens; without one the SDK would leave a socket open."""
    host = str(parse_host(os.environ.get("DOCKER_HOST")))
    _, _, path = host.partition("unix://")
    if path:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)


def _security(capabilities: Sequence[str]) -> list[str]:
    # Mounted files of the caller keep their SELinux labels.
    options = ["label=disable"]
    if "SYS_ADMIN" in capabilities:
        # Docker's own profiles forbid mount(2) and pivot_root(2), even with capabilities.
        return [*options, "apparmor=unconfined", f"seccomp={_SECCOMP.read_text()}"]
    return [*options, "no-new-privileges"]


@contextmanager
def _as_host_errors() -> Iterator[None]:
    try:
        yield
    except APIError as error:
        raise HostError(
            f"the Docker daemon refuses a request: {error.explanation or error}"
        ) from error
    except DockerException as error:
        raise _unreachable(error) from error


def _unreachable(error: Exception) -> HostError:
    if isinstance(error, PermissionError) or "Permission denied" in str(error):
        return HostError(
            "this user may not use the Docker daemon",
            hint="sudo usermod -aG docker $USER, and log in again",
        )
    return HostError(
        "no Docker daemon answers",
        hint="start it (sudo systemctl start docker), or set DOCKER_HOST",
        details=[str(error)],
    )
