# SPDX-License-Identifier: MIT
"""The key with which a builder in a container has steps carried out that need root's power.

Other programs in that container, such as compilers of sources that somebody else wrote, belong to
the same user and reach the same sockets. Only the builder itself knows the key.
"""

from __future__ import annotations

import os
import secrets
import threading
from functools import cache
from pathlib import Path
from typing import Final

VARIABLE: Final = "BUILDER_KEY"
"""Variable of the environment in which the container with capabilities gets the key."""

_FILE: Final = "key"
_BYTES: Final = 32

_taking = threading.Lock()


def leave_key(folder: Path) -> bytes:
    """Make a key and leave it in a directory, for the builder that is started next."""
    key = secrets.token_bytes(_BYTES)
    opened = os.open(folder / _FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(opened, "wb") as file:
        file.write(key)
    return key


def taken_key(folder: Path) -> bytes:
    """Return the key, which nobody finds any more; empty if another process has taken it."""
    with _taking:
        return _taken(folder)


@cache
def _taken(folder: Path) -> bytes:
    if VARIABLE in os.environ:
        return bytes.fromhex(os.environ.pop(VARIABLE))
    try:
        key = (folder / _FILE).read_bytes()
        (folder / _FILE).unlink()
    except FileNotFoundError:
        return b""
    return key
