# SPDX-License-Identifier: MIT
"""First login on a fresh board, as its user with the password.

That login then uses sudo to install an SSH key for root, which the checks use. The key is only
written to the emulated card, not to the image.
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
    # A board that hangs does not close the connection, so ssh does after ten minutes without answer.
    "ServerAliveInterval": "60",
    "ServerAliveCountMax": "10",
}
"""Settings of ssh for a board with an unknown host key (ssh_config(5))."""
_TRIES = 5
_PAUSE = 5
"""Seconds between tries: the server may answer before logins are allowed (pam_nologin)."""


def root_shell(port: int, key: Path, config: Path) -> list[str]:
    """Return the command that runs a command line as root on the board, after `install_key`.

    Write its ssh configuration to `config`.
    """
    # All logins share the connection of the first one (ssh_config(5)).
    sharing = {"ControlMaster": "auto", "ControlPath": f"{config.parent}/%C"}
    settings = {**_SETTINGS, **sharing}
    lines = [f"  {name} {value}" for name, value in settings.items()]
    config.write_text("\n".join(["Host 127.0.0.1", *lines, ""]))
    return ["ssh", "-F", str(config), "-i", str(key), "-p", str(port), "root@127.0.0.1"]


def install_key(port: int, user: str, password: str, work: Path, *, expired: bool = False) -> Path:
    """Create an SSH key, install it for root on the board behind a local port, and return its file.

    If the password has `expired`, change it first, as the board requires, and finally set the
    original password again, which the checks use.

    Raises:
        StepError: the user cannot log in or use sudo; or the board accepts an expired password.
    """
    key = work / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    # OpenSSH runs this program to get the password, so no terminal is needed.
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
