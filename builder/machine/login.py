# SPDX-License-Identifier: MIT
"""The first login on a fresh board: as its user, with the password, as a person would.

Then the checks' own key is given to root, by sudo, on the emulated card only.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

from builder.errors import StepError

_OPTIONS = (
    *("-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no"),
    *("-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60"),
)
_TRIES = 5


def install_key(port: int, user: str, password: str, work: Path) -> Path:
    """Make a key, let it in as root on the board at a local port, and return its file.

    Raises:
        StepError: the user cannot log in, or sudo refuses.
    """
    key = work / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    # OpenSSH asks this program for the password, so that no terminal is needed.
    askpass = work / "askpass"
    askpass.write_text('#!/bin/sh\nprintf "%s\\n" "$BUILDER_PASSWORD"\n')
    askpass.chmod(0o700)
    script = (
        f"install -d -m 0700 /root/.ssh && echo {shlex.quote(public)} >> /root/.ssh/authorized_keys"
    )
    command = [
        *("ssh", *_OPTIONS, "-p", str(port), "-o", "PubkeyAuthentication=no", f"{user}@127.0.0.1"),
        f"sudo -S -p '' sh -c {shlex.quote(script)}",
    ]
    environment = {
        **os.environ,
        "SSH_ASKPASS": str(askpass),
        "SSH_ASKPASS_REQUIRE": "force",
        "DISPLAY": os.environ.get("DISPLAY", ":"),
        "BUILDER_PASSWORD": password,
    }
    output = ""
    for _ in range(_TRIES):
        done = subprocess.run(
            command,
            input=f"{password}\n",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return key
        output = done.stdout + done.stderr
        time.sleep(5)  # the server may speak before logins are allowed (pam_nologin)
    raise StepError(
        f"{user} cannot log in by ssh and use sudo on the emulated board",
        details=output.splitlines()[-10:],
    )
