# SPDX-License-Identifier: MIT
"""The Docker daemon: makes images, runs containers, and leaves nothing behind."""

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
    """The daemon that DOCKER_HOST or the usual socket leads to.

    Containers belong to this process: those whose process is gone are removed by the user's next one.
    Use it as a context manager, or close it.
    """

    def __init__(self) -> None:
        """Connect.

        Raises:
            HostError: no daemon answers, or it is none that can be used.
        """
        try:
            _knock()
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
                "the Docker daemon is rootless, which cannot make the devices and owners of a "
                "root filesystem",
                hint="use the system's daemon (DOCKER_HOST=unix:///var/run/docker.sock)",
            )

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def __enter__(self) -> Docker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def user(self) -> str:
        """Who commands are that refuse to be root ("UID:GID")."""
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
        """Return the tag of the image that a recipe describes, which is made if need be."""
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
        shown = shlex.join(container.argv)
        said = Transcript(shown, log=log, on_line=on_line)
        with self.started(container) as running, processes.registered(running):
            for line in running.lines():
                said.add(line)
            status = running.wait()
        if processes.stopped:
            raise Interrupted("interrupted")
        if status != 0:
            raise CommandError(
                f"{Path(container.argv[0]).name} ended with status {status}",
                replay=shown,
                status=status,
                details=said.tail,
            )
        return said.text

    @contextmanager
    def started(
        self, container: Container, *, terminal: bool = False, stdin: bool = False
    ) -> Iterator[RunningContainer]:
        """Start a container; whatever happens, it is gone at the end.

        With `terminal` it has one of its own; with `stdin` it can be written to.
        """
        with passwords_hidden(container) as shown:
            created = self._created(shown, terminal=terminal, stdin=stdin)
            stream = None
            try:
                with _as_host_errors():
                    # Attached before it starts: nothing of its output is missed.
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
        """Remove containers that processes of this user have left because they were killed.

        Of a process that may be another machine's, what has not run for a day is left as well: whoever
        is alive removes a container when it ends.
        """
        with _as_host_errors():
            for left in self._client.containers.list(
                all=True, filters={"label": _OWNER}, ignore_removed=True
            ):
                owner = read_label(left.labels[_OWNER])
                if owner and (owner.is_gone() or (owner.user == os.getuid() and _is_old(left))):
                    with suppress(NotFound, APIError):
                        left.remove(force=True, v=True)


class RunningContainer:
    """A container that was started: what it says, how it ends, how it is stopped."""

    def __init__(self, container: DockerContainer, stream: Any, *, terminal: bool) -> None:
        self._container = container
        self._stream = stream
        self._terminal = terminal

    def output(self) -> Iterator[tuple[int, bytes]]:
        """Yield what the command writes as it comes, each with 1 (stdout) or 2 (stderr)."""
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
        """Tell the container's terminal its size."""
        with suppress(NotFound, APIError):
            self._container.resize(height=rows, width=columns)

    def signal(self, name: str) -> None:
        """Send a signal to the command."""
        with suppress(NotFound, APIError):
            self._container.kill(signal=name)

    def kill(self) -> None:
        """Stop all that runs in the container, at once."""
        self.signal("SIGKILL")

    def wait(self) -> int:
        """Wait for the end of the command and return its status."""
        with _as_host_errors():
            return int(self._container.wait(timeout=None)["StatusCode"])


def _is_old(container: DockerContainer) -> bool:
    """Return whether a container has not been running for a day at least."""
    if container.status not in ("created", "exited", "dead"):
        return False
    # Both begin like 2024-05-01T10:20:30, in UTC; what has not started, ended in the year 1.
    ended = max(container.attrs["Created"], container.attrs["State"]["FinishedAt"])
    return bool(ended < (datetime.now(timezone.utc) - _OLD).isoformat(timespec="seconds"))


def _knock() -> None:
    """See whether somebody listens; the SDK would leave a socket open if nobody does."""
    host = str(parse_host(os.environ.get("DOCKER_HOST")))
    _, _, path = host.partition("unix://")
    if path:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)


def _security(capabilities: Sequence[str]) -> list[str]:
    # Files of the caller keep their SELinux labels: what is mounted is shown, not relabelled.
    options = ["label=disable"]
    if "SYS_ADMIN" in capabilities:
        # Docker's own profiles forbid mount(2) and pivot_root(2), whoever asks.
        return [*options, "apparmor=unconfined", f"seccomp={_SECCOMP.read_text()}"]
    return [*options, "no-new-privileges"]


@contextmanager
def _as_host_errors() -> Iterator[None]:
    try:
        yield
    except APIError as error:
        raise HostError(f"the Docker daemon refuses: {error.explanation or error}") from error
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
