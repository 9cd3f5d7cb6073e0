# SPDX-License-Identifier: MIT
"""The first login on a fresh board: as its user, with the password, as a person would.

Then the checks' own key is given to root, by sudo, on the emulated card only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.boot_test.password_change import change_password
from builder.errors import StepError

_SETTINGS = {
    "UserKnownHostsFile": "/dev/null",
    "StrictHostKeyChecking": "no",
    "LogLevel": "ERROR",
    "ConnectTimeout": "60",
    # A board that has stopped does not hang up: ssh does, after ten minutes without an answer.
    "ServerAliveInterval": "60",
    "ServerAliveCountMax": "10",
}
"""Of ssh, for a board whose key nobody knows yet (ssh_config(5))."""
_TRIES = 5
_PAUSE = 5
"""Seconds between them: the server may speak before logins are allowed (pam_nologin)."""


def root_shell(port: int, key: Path, config: Path) -> list[str]:
    """Return the command that runs further words as root on the board, after `install_key`.

    It uses a configuration of ssh that is written to `config`.
    """
    # The first login is shared with all others while it lasts (ssh_config(5)).
    sharing = {"ControlMaster": "auto", "ControlPath": f"{config.parent}/%C"}
    settings = {**_SETTINGS, **sharing}
    lines = [f"  {name} {value}" for name, value in settings.items()]
    config.write_text("\n".join(["Host 127.0.0.1", *lines, ""]))
    return ["ssh", "-F", str(config), "-i", str(key), "-p", str(port), "root@127.0.0.1"]


def install_key(port: int, user: str, password: str, work: Path, *, expired: bool = False) -> Path:
    """Make a key, let it in as root on the board at a local port, and return its file.

    If the password has `expired`, another one is chosen first, as the board asks for, and the one
    that the checks know is set again at last.

    Raises:
        StepError: the user cannot log in, or sudo refuses; or an expired password lets him in.
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
    if expired:
        script += " && chpasswd"
    options = {**_SETTINGS, "PubkeyAuthentication": "no"}
    ssh = [
        *("ssh", *(f"-o{name}={value}" for name, value in options.items())),
        *("-p", str(port), f"{user}@127.0.0.1"),
    ]
    command = [*ssh, f"sudo -S -p '' sh -c {shlex.quote(script)}"]
    environment = {
        **os.environ,
        "SSH_ASKPASS": str(askpass),
        "SSH_ASKPASS_REQUIRE": "force",
        "DISPLAY": os.environ.get("DISPLAY", ":"),
        "BUILDER_PASSWORD": password,
    }
    answers = f"{password}\n"
    if expired:
        other = secrets.token_hex(12)
        _change_password(ssh, environment, old=password, new=other)
        environment["BUILDER_PASSWORD"] = other
        answers = f"{other}\n{user}:{password}\n"
    output = ""
    for _ in range(_TRIES):
        done = subprocess.run(
            command,
            input=answers,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return key
        output = done.stdout + done.stderr
        time.sleep(_PAUSE)
    raise StepError(
        f"{user} cannot log in by ssh and use sudo on the emulated board",
        details=output.splitlines()[-10:],
    )


def _change_password(
    ssh: Sequence[str], environment: Mapping[str, str], *, old: str, new: str
) -> None:
    for _ in range(_TRIES - 1):
        with contextlib.suppress(StepError):
            return change_password(ssh, environment, old=old, new=new)
        time.sleep(_PAUSE)
    return change_password(ssh, environment, old=old, new=new)
