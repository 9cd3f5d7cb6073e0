# SPDX-License-Identifier: MIT
"""Server on the board that runs shell commands and Python code for the checks.

All checks share one login and one interpreter. On an emulated board, an SSH login takes half a
second, the start of Python one second, and the import of the PYNQ library most of a minute.

The server reads requests from standard input and writes answers to standard output, one line of JSON
each:

* `{"command": TEXT}`: a command for `/bin/sh`.
* `{"code": TEXT, "arguments": [TEXT, ...], "modules": [NAME, ...]}`: Python code, run in a child
  process of this one, with the named modules already imported.

The answer is `{"status": N, "stdout": BASE64, "stderr": BASE64}`. As in a shell, the status after a
signal is 128 plus the signal's number.

The server is sent to the board as text, so it only imports the standard library of Python 3.8.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import subprocess
import sys
import traceback
from typing import Any


def main() -> None:
    """Answer requests until standard input ends."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.dup(1)
    # Output of imported modules must not mix with the answers.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    for line in requests:
        request = json.loads(line)
        stdout, stderr = os.memfd_create("stdout"), os.memfd_create("stderr")
        status = (
            run_command(request["command"], stdout, stderr)
            if "command" in request
            else run_code(request, stdout, stderr)
        )
        if status is None:
            return  # in the child process, at the end of its code
        answer = {
            "status": status,
            "stdout": content(stdout),
            "stderr": content(stderr),
        }
        write(answers, json.dumps(answer).encode() + b"\n")


def run_command(command: str, stdout: int, stderr: int) -> int:
    """Run a shell command; return its status."""
    with subprocess.Popen(
        ["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
    ) as process:
        status = process.wait()
    return status if status >= 0 else 128 - status


def run_code(request: dict[str, Any], stdout: int, stderr: int) -> int | None:
    """Run Python code in a child process; return its status, or None in the child itself.

    An exception in the code ends the child with a traceback, like any program.
    """
    try:
        for name in request["modules"]:
            importlib.import_module(name)
    except BaseException:  # noqa: BLE001 - reported in the answer
        write(stderr, traceback.format_exc().encode())
        return 1
    # Otherwise the child would print buffered text again.
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return 128 + os.WTERMSIG(status)
        return os.WEXITSTATUS(status)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    sys.argv = ["-c", *request["arguments"]]
    code = compile(request["code"], "<check>", "exec", dont_inherit=True)
    exec(code, {"__name__": "__main__"})  # noqa: S102
    return None


def content(file: int) -> str:
    """Return the content of an in-memory file in base64, and close the file."""
    with os.fdopen(file, "rb") as reader:
        reader.seek(0)
        return base64.b64encode(reader.read()).decode()


def write(file: int, data: bytes) -> None:
    """Write all of `data` to a file descriptor."""
    while data:
        data = data[os.write(file, data) :]


if __name__ == "__main__":
    main()
