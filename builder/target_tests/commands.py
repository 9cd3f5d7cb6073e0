# SPDX-License-Identifier: MIT
"""Client of the command server on the board, and a testinfra backend that uses it."""

from __future__ import annotations

import base64
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from testinfra.backend.base import BaseBackend

SERVER = Path(__file__).with_name("server.py")

_NOT_FOUND = 127
"""Exit status of a shell for a missing program (POSIX, Shell Command Language, 2.8.2)."""

_END_SECONDS = 10


class _NoPythonError(ConnectionError):
    """The board has no Python."""


class Answer(NamedTuple):
    """Result of a command: its exit status and its output."""

    status: int
    stdout: bytes
    stderr: bytes


class BoardCommands:
    """Runner of commands and Python code on a board, through one server on the board.

    The server starts at the first request. On a board without Python, each command runs in a `shell`
    of its own.

    Args:
        shell: command that runs a command line on the board; empty on the board itself.
    """

    def __init__(self, shell: Sequence[str] = ()) -> None:
        self._shell = tuple(shell)
        self._server: subprocess.Popen[bytes] | None = None
        self._without_python = False

    def run(self, command: str) -> Answer:
        """Run a shell command.

        Raises:
            ConnectionError: the connection to the board was lost.
        """
        if not self._without_python:
            with suppress(_NoPythonError):
                return self._ask({"command": command})
            self._without_python = True
        done = subprocess.run(
            [*self._shell, command], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def run_python(self, code: str, *arguments: str, modules: Sequence[str] = ()) -> Answer:
        """Run Python code in a process of its own, with `modules` already imported.

        Raises:
            ConnectionError: the connection to the board was lost, or it has no Python.
        """
        return self._ask({"code": code, "arguments": arguments, "modules": modules})

    def close(self) -> None:
        """End the server; the next request starts another one.

        A running command ends with the server if it runs locally, but continues if it was started
        through a login.
        """
        server, self._server = self._server, None
        if server is None:
            return
        assert server.stdin
        assert server.stdout
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        with suppress(BrokenPipeError):
            server.stdin.close()
        server.stdout.close()

    def _start(self) -> subprocess.Popen[bytes]:
        options = ["-W", "ignore", "-c", SERVER.read_text()]
        words = [sys.executable, *options]
        if self._shell:
            words = [*self._shell, f"exec python3 {shlex.join(options)}"]
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # so that `close` ends it with its commands
        )

    def _ask(self, request: Mapping[str, Any]) -> Answer:
        server = self._server = self._server or self._start()
        assert server.stdin
        assert server.stdout
        line = b""
        try:
            with suppress(BrokenPipeError):
                server.stdin.write(json.dumps(request).encode() + b"\n")
                server.stdin.flush()
            line = server.stdout.readline()
            if not line:
                with suppress(subprocess.TimeoutExpired):
                    server.wait(_END_SECONDS)  # its exit status is the reason
        finally:
            # Also after a timeout: a late answer would be taken for that of the next request.
            if not line.endswith(b"\n"):
                self.close()
        if not line.endswith(b"\n"):
            if server.returncode == _NOT_FOUND:
                raise _NoPythonError("the board has no python3")
            raise ConnectionError("the connection to the board was lost")
        answer = json.loads(line)
        return Answer(
            answer["status"],
            base64.b64decode(answer["stdout"]),
            base64.b64decode(answer["stderr"]),
        )


class BoardBackend(BaseBackend):  # type: ignore[misc] # testinfra has no types
    """Testinfra backend that runs all commands with `BoardCommands`."""

    NAME = "board"

    def __init__(self, commands: BoardCommands) -> None:
        super().__init__("board")
        self.commands = commands

    def run(self, command: str, *args: str, **_: Any) -> Any:
        """Run a command, with each `%s` replaced by one of the arguments."""
        text = self.get_command(command, *args)
        answer = self.commands.run(text)
        return self.result(answer.status, self.encode(text), answer.stdout, answer.stderr)
