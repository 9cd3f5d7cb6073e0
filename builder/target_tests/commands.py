# SPDX-License-Identifier: MIT
"""Client of the server that runs commands on the board, and testinfra's backend on top of it."""

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
"""A shell's status if there is no such program (POSIX, Shell Command Language, 2.8.2)."""

_END_SECONDS = 10


class _NoPythonError(ConnectionError):
    """The board has no Python."""


class Answer(NamedTuple):
    """Result of a command: its exit status and what it printed."""

    status: int
    stdout: bytes
    stderr: bytes


class BoardCommands:
    """Commands and Python code on a board, through one server that is started at the first request.

    `shell` is the command that runs further words on the board; without it the board is this machine.
    A board without Python runs its commands all the same, each by a `shell` of its own.
    """

    def __init__(self, shell: Sequence[str] = ()) -> None:
        self._shell = tuple(shell)
        self._server: subprocess.Popen[bytes] | None = None
        self._without_python = False

    def run(self, command: str) -> Answer:
        """Run a command of the shell's.

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
        """Run Python code in a process of its own, in which modules have been imported already.

        Raises:
            ConnectionError: the connection to the board was lost, or it has no Python.
        """
        return self._ask({"code": code, "arguments": arguments, "modules": modules})

    def close(self) -> None:
        """End the server; the next request starts another one.

        A command that is still running ends with it on the board itself. Through a login it goes on.
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
            start_new_session=True,  # to be ended with its commands: see `close`
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
                    server.wait(_END_SECONDS)  # its status says why
        finally:
            # Also when a time limit breaks this off: the answer would be taken for the next one's.
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
    """Backend for testinfra that runs all commands through `BoardCommands`."""

    NAME = "board"

    def __init__(self, commands: BoardCommands) -> None:
        super().__init__("board")
        self.commands = commands

    def run(self, command: str, *args: str, **_: Any) -> Any:
        """Run a command; each `%s` in it stands for one of the arguments."""
        text = self.get_command(command, *args)
        answer = self.commands.run(text)
        return self.result(answer.status, self.encode(text), answer.stdout, answer.stderr)
