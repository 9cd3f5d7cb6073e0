# SPDX-License-Identifier: MIT
"""A login with a password that has to be changed, as a person at a terminal goes through it."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from builder.errors import StepError

_PROMPT = re.compile(rb"password: ?$", re.IGNORECASE)
"""How each of passwd's three questions ends: the current one, the new one, the new one again."""


def change_password(
    ssh: Sequence[str], environment: Mapping[str, str], *, old: str, new: str, timeout: float = 120
) -> None:
    """Log in by `ssh`, which asks no question of its own, and answer those of passwd.

    Raises:
        StepError: nobody asks for another password within `timeout` seconds, or it is not taken.
    """
    with subprocess.Popen(
        # passwd talks to nobody but a terminal.
        [ssh[0], "-tt", *ssh[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        bufsize=0,
    ) as login:
        assert login.stdin
        assert login.stdout
        deadline = time.monotonic() + timeout
        said, answered = b"", 0
        answers = [old, new, new]
        try:
            while select.select([login.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                text = os.read(login.stdout.fileno(), 4096)
                if not text:
                    break
                said += text
                # What is typed before a question is thrown away, so each is waited for.
                if answered < len(answers) and _PROMPT.search(said[-80:]):
                    # Who has hung up takes none, but may still say why.
                    with suppress(BrokenPipeError):
                        login.stdin.write(f"{answers[answered]}\n".encode())
                    answered += 1
                    said += b"\n"
        finally:
            login.kill()
    if answered < len(answers) or b"updated successfully" not in said:
        raise StepError(
            "the first login did not lead to another password, as users.force-password-change asks",
            details=said.decode(errors="replace").splitlines()[-10:],
        )
