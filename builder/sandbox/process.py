# SPDX-License-Identifier: MIT
"""The one way in which the builder runs a command."""

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

# Nothing of the caller's environment reaches a command but what is needed to get through a proxy:
# builds must not depend on who runs them.
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
"""Variables of the caller that commands get."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment that commands get: fixed values, proxies, then `extra`."""
    environment = {"PATH": SEARCH_PATH, "HOME": "/root", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    environment |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= extra or {}
    return environment


class Running(Protocol):
    """Something that runs and can be stopped."""

    def kill(self) -> None:
        """Stop it, at once."""


class _Session(subprocess.Popen[str]):
    """A command in a session of its own."""

    def kill(self) -> None:
        """Kill it with all that it started, which would hold its output open."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


class Processes:
    """The commands that are running, so that all of them can be stopped at once."""

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

        The command dies with the builder, even if that is killed. Output that is None goes where
        the builder's goes.

        Raises:
            Interrupted: everything has been told to stop.
            HostError: the program does not exist.
        """
        if not which(argv[0], path=environment.get("PATH")):
            raise HostError(f"{argv[0]} is not installed", hint="see ./build.py doctor")
        # setpriv, not preexec_fn: that is not safe in a program with threads.
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
        """Start a command as `start` does, with nothing to read; it ends with the context.

        Raises:
            Interrupted: everything has been told to stop.
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
        """Stop keeping track of a process that has ended."""
        with self._lock:
            self._running.discard(process)

    @contextmanager
    def registered(self, running: Running) -> Iterator[None]:
        """Have `stop` stop something that runs elsewhere, too.

        Raises:
            Interrupted: everything has been told to stop.
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
        """Kill every running command and refuse new ones."""
        with self._lock:
            self._stopped = True
            running = tuple(self._running)
        for process in running:
            process.kill()

    def kill(self) -> None:
        """Do as `stop`, so that another `Processes` can stop these."""
        self.stop()

    @property
    def stopped(self) -> bool:
        """Whether `stop` has been called."""
        return self._stopped


class Transcript:
    """The output of a command, kept and passed on as it comes: to a log, and line by line.

    `shown` is the command line, with which the log begins.
    """

    def __init__(
        self,
        shown: str,
        *,
        log: IO[str] | None = None,
        on_line: Callable[[str], object] | None = None,
    ) -> None:
        self._log = log
        self._on_line = on_line
        self._lines: list[str] = []
        self._write(f"$ {shown}\n")

    def add(self, line: str) -> None:
        """Take a line, with its end."""
        self._lines.append(line)
        self._write(line)
        if self._on_line:
            self._on_line(line.rstrip("\n"))

    @property
    def text(self) -> str:
        """All that was said."""
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
        argv: the command; never a shell line.
        processes: where the command is registered while it runs.
        environment: its whole environment (default: `clean_environment()`).
        cwd: its working directory.
        stdin: text for its standard input, which is closed otherwise.
        log: file that receives the command line and its output as it comes.
        on_line: called with each line of output.
        replay: what an error shows as the line to paste, if not `argv` itself.

    Raises:
        CommandError: it ended with a status other than 0.
        Interrupted: it was stopped.
    """
    environment = clean_environment() if environment is None else environment
    shown = shlex.join(replay or argv)
    said = Transcript(shown, log=log, on_line=on_line)
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
            # The inputs we pass are smaller than a pipe's buffer or read at once by the command.
            with suppress(BrokenPipeError):  # its exit status tells
                process.stdin.write(stdin)
            with suppress(BrokenPipeError):  # closing writes what is left
                process.stdin.close()
        for line in process.stdout:
            said.add(line)
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
        what = f"signal {-status}" if status < 0 else f"status {status}"
        raise CommandError(
            f"{_program(replay or argv)} ended with {what}",
            replay=shown,
            status=status,
            details=said.tail,
        )
    return said.text


def run_visibly(
    argv: Sequence[str], *, environment: Mapping[str, str], processes: Processes
) -> int:
    """Run a command whose output goes where the builder's goes; return its status.

    It ends with the builder, also if that is interrupted or killed.
    """
    with processes.running(argv, environment=environment, stdout=None, stderr=None) as process:
        return process.wait()


def _program(argv: Sequence[str]) -> str:
    """Return the name of the program that a command line is about, past `env` and the like."""
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
