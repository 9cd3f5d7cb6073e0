# SPDX-License-Identifier: MIT
"""First login with an expired password: the dialogue with passwd on a terminal."""

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
"""End of passwd's three prompts: for the current password, the new one, the new one again."""


def change_password(
    ssh: Sequence[str], environment: Mapping[str, str], *, old: str, new: str, timeout: float = 120
) -> None:
    """Log in with the command `ssh`, which must not prompt itself, and answer passwd's prompts.

    Raises:
        StepError: there is no prompt for a new password within `timeout` seconds, or passwd refuses
            the password.
    """
    with subprocess.Popen(
        # passwd only prompts on a terminal.
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
        output, answered = b"", 0
        answers = [old, new, new]
        try:
            while select.select([login.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                text = os.read(login.stdout.fileno(), 4096)
                if not text:
                    break
                output += text
                # passwd discards input that was typed before a prompt, so wait for each prompt.
                if answered < len(answers) and _PROMPT.search(output[-80:]):
                    # A program that has closed its input may still print an error message.
                    with suppress(BrokenPipeError):
                        login.stdin.write(f"{answers[answered]}\n".encode())
                    answered += 1
                    output += b"\n"
        finally:
            login.kill()
    if answered < len(answers) or b"updated successfully" not in output:
        raise StepError(
            "the first login did not ask for and set a new password, as the parameter "
            "users.force-password-change requires",
            details=output.decode(errors="replace").splitlines()[-10:],
        )
