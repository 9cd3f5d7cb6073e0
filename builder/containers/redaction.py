# SPDX-License-Identifier: MIT
"""Removal of passwords in URLs, such as those of proxies, from text that other users may see."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from builder.containers.containers import Container, Mount

_FILE: Final = Path("/run/environment")
"""Path of the file in the container."""

_PASSWORD: Final = re.compile(r"(?<=://)[^/\s]*@")
"""User and password in a URL (RFC 3986, 3.2.1)."""


def without_passwords(text: str) -> str:
    """Return a text without the users and passwords in its URLs."""
    return _PASSWORD.sub("", text)


@contextmanager
def passwords_hidden(container: Container) -> Iterator[Container]:
    """Yield a container whose command reads the variables with passwords from a file.

    `docker inspect` shows the environment of an existing container.
    """
    hidden = {
        name: value for name, value in container.environment.items() if _PASSWORD.search(value)
    }
    if not hidden:
        yield container
        return
    with tempfile.TemporaryDirectory(prefix="builder-") as folder:
        file = Path(folder, "environment")
        file.write_text(
            "".join(f"export {name}={shlex.quote(value)}\n" for name, value in hidden.items())
        )
        file.chmod(0o444)  # for any user of the command; only the caller may enter the directory
        yield replace(
            container,
            argv=["/bin/sh", "-c", f'. {_FILE}; exec "$@"', "sh", *container.argv],
            environment={
                name: value for name, value in container.environment.items() if name not in hidden
            },
            mounts=[*container.mounts, Mount(source=file, target=_FILE, read_only=True)],
        )
