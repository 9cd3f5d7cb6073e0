# SPDX-License-Identifier: MIT
"""Running commands: the one way in which the builder does it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import which
from typing import IO, Protocol

from builder.errors import CommandError, HostError, Interrupted, StepError

TAIL_LINES = 25
"""Lines of a failed command's output that an error repeats."""

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of commands."""

# Builds must not depend on the caller's environment: commands get only the variables that are
# needed to reach the network.
PASSED_ON = (
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_CERT",
)
"""Environment variables of the caller that commands get."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of commands: fixed values, the variables PASSED_ON, then `extra`."""
    environment = {"PATH": SEARCH_PATH, "HOME": "/root", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    environment |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= extra or {}
    return environment


class Running(Protocol):
    """A running object that can be stopped."""

    def kill(self) -> None:
        """Stop it immediately."""


class _Session(subprocess.Popen[str]):
    """A command in a session of its own."""

    def kill(self) -> None:
        """Kill the command and its children, which would hold its output open."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


class Processes:
    """Registry of running commands, which can all be stopped together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Running] = set()
        self._stopped = False

    def start(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        stdin: int | IO[str] | IO[bytes],
        stdout: int | IO[str] | IO[bytes] | None,
        stderr: int | IO[str] | IO[bytes] | None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command in a session of its own, so that Ctrl-C reaches the builder alone.

        The command dies with the builder, even if that is killed. Output that is None goes to the
        builder's own output.

        Raises:
            Interrupted: `stop` has been called.
            HostError: the program does not exist.
            StepError: the directory `cwd` does not exist.
        """
        if not which(argv[0], path=environment.get("PATH")):
            raise HostError(f"{argv[0]} is not installed", hint="see ./build.py doctor")
        # setpriv, because preexec_fn is not safe in a program with threads.
        guarded = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
        with self._lock:
            if self._stopped:
                raise Interrupted("interrupted")
            try:
                process = _Session(
                    guarded,
                    cwd=cwd,
                    env=dict(environment),
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                if cwd and not cwd.is_dir():
                    raise StepError(f"there is no directory {cwd}") from error
                raise HostError(
                    f"{error.filename} is not installed", hint="apt-get install util-linux"
                ) from error
            self._running.add(process)
        return process

    @contextmanager
    def running(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        stdout: int | IO[str] | IO[bytes] | None,
        stderr: int | IO[str] | IO[bytes] | None,
        cwd: Path | None = None,
    ) -> Iterator[subprocess.Popen[str]]:
        """Start a command with an empty standard input, and kill it when the context ends.

        Raises:
            Interrupted: `stop` has been called.
            HostError: the program does not exist.
        """
        process = self.start(
            argv,
            environment=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            self.forget(process)

    def forget(self, process: Running) -> None:
        """Remove a process that has ended from the registry."""
        with self._lock:
            self._running.discard(process)

    @contextmanager
    def registered(self, running: Running) -> Iterator[None]:
        """Register another running object, for `stop`.

        Raises:
            Interrupted: `stop` has been called.
        """
        with self._lock:
            if self._stopped:
                raise Interrupted("interrupted")
            self._running.add(running)
        try:
            yield
        finally:
            self.forget(running)

    def stop(self) -> None:
        """Kill all running commands and refuse new ones."""
        with self._lock:
            self._stopped = True
            running = tuple(self._running)
        for process in running:
            process.kill()

    def kill(self) -> None:
        """Stop all of them: one registry can be registered in another."""
        self.stop()

    @property
    def stopped(self) -> bool:
        """Whether `stop` has been called."""
        return self._stopped


class Transcript:
    """Output of a command, which is also written to a log and passed to `on_line` as it arrives.

    `command` is the command line, the first line of the log.
    """

    def __init__(
        self,
        command: str,
        *,
        log: IO[str] | None = None,
        on_line: Callable[[str], object] | None = None,
    ) -> None:
        self._log = log
        self._on_line = on_line
        self._lines: list[str] = []
        self._write(f"$ {command}\n")

    def add(self, line: str) -> None:
        """Add a line, with its newline."""
        self._lines.append(line)
        self._write(line)
        if self._on_line:
            self._on_line(line.rstrip("\n"))

    @property
    def text(self) -> str:
        """The whole output."""
        return "".join(self._lines)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, for an error."""
        return tuple(line.rstrip("\n") for line in self._lines[-TAIL_LINES:])

    def _write(self, line: str) -> None:
        if self._log:
            self._log.write(line)
            self._log.flush()


def run(
    argv: Sequence[str],
    *,
    processes: Processes,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    log: IO[str] | None = None,
    on_line: Callable[[str], object] | None = None,
    replay: Sequence[str] | None = None,
) -> str:
    """Run a command to its end and return its standard output and error as one text.

    Args:
        argv: the command and its arguments.
        processes: registry of the running command.
        environment: its complete environment (default: `clean_environment()`).
        cwd: its working directory.
        stdin: text for its standard input, which is empty otherwise.
        log: file for the command line and its output.
        on_line: called with each line of output.
        replay: the command that errors show for pasting (default: `argv`).

    Raises:
        CommandError: it ended with a status other than 0.
        Interrupted: it was stopped.
    """
    environment = clean_environment() if environment is None else environment
    command = shlex.join(replay or argv)
    transcript = Transcript(command, log=log, on_line=on_line)
    process = processes.start(
        argv,
        environment=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        if stdin is not None and process.stdin:
            # The inputs are smaller than a pipe's buffer, or the command reads them immediately.
            with suppress(BrokenPipeError):  # its exit status says why
                process.stdin.write(stdin)
            with suppress(BrokenPipeError):  # closing writes the rest of the buffer
                process.stdin.close()
        for line in process.stdout:
            transcript.add(line)
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        processes.forget(process)
        process.stdout.close()
    if processes.stopped:
        raise Interrupted("interrupted")
    if status != 0:
        reason = f"signal {-status}" if status < 0 else f"status {status}"
        raise CommandError(
            f"{_program(replay or argv)} ended with {reason}",
            replay=command,
            status=status,
            details=transcript.tail,
        )
    return transcript.text


def run_visibly(
    argv: Sequence[str], *, environment: Mapping[str, str], processes: Processes
) -> int:
    """Run a command with the builder's own output, and return its status.

    It ends with the builder, even if that is interrupted or killed.
    """
    with processes.running(argv, environment=environment, stdout=None, stderr=None) as process:
        return process.wait()


def _program(argv: Sequence[str]) -> str:
    """Return the name of a command line's program, without wrappers such as `env`."""
    if "bwrap" in argv and "--" in argv[argv.index("bwrap") :]:
        argv = argv[argv.index("--", argv.index("bwrap")) + 1 :]
    words = [word for word in argv if "=" not in word and not word.startswith("-")]
    wrappers = {"env", "chroot", "nsenter", "setpriv"}
    for index, word in enumerate(words):
        name = Path(word).name
        if name == "chroot" and index + 2 < len(words):
            return Path(words[index + 2]).name
        if name not in wrappers:
            return name
    return Path(argv[0]).name
