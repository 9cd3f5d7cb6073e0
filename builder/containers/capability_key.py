# SPDX-License-Identifier: MIT
"""Key with which a builder in a container signs its requests (`builder.containers.protocol`).

Other programs in that container, such as compilers of sources that somebody else wrote, run as the
same user and can reach the same sockets. Only the builder has the key.
"""

from __future__ import annotations

import os
import secrets
import threading
from functools import cache
from pathlib import Path
from typing import Final

VARIABLE: Final = "BUILDER_KEY"
"""Environment variable that holds the key in the container with capabilities."""

_FILE: Final = "key"
_BYTES: Final = 32

_lock = threading.Lock()


def create_key(folder: Path) -> bytes:
    """Create a key, and write it to a directory for the builder that starts next."""
    key = secrets.token_bytes(_BYTES)
    opened = os.open(folder / _FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(opened, "wb") as file:
        file.write(key)
    return key


def take_key(folder: Path) -> bytes:
    """Return the key and remove it from its place; empty if another process has taken it."""
    with _lock:
        return _take(folder)


@cache
def _take(folder: Path) -> bytes:
    if VARIABLE in os.environ:
        return bytes.fromhex(os.environ.pop(VARIABLE))
    try:
        key = (folder / _FILE).read_bytes()
        (folder / _FILE).unlink()
    except FileNotFoundError:
        return b""
    return key
