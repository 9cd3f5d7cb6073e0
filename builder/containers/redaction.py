# SPDX-License-Identifier: MIT
"""Passwords in URLs, such as those of proxies: what others may see has none."""

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

_PLACE: Final = Path("/run/environment")
"""The file, as the container sees it."""

_PASSWORD: Final = re.compile(r"(?<=://)[^/\s]*@")
"""User and password in a URL (RFC 3986, 3.2.1)."""


def without_passwords(text: str) -> str:
    """Return a text whose URLs have neither user nor password."""
    return _PASSWORD.sub("", text)


@contextmanager
def passwords_hidden(container: Container) -> Iterator[Container]:
    """Give a container whose command has the same variables, those with passwords out of a file.

    `docker inspect` shows a container's environment as long as it is there.
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
        file.chmod(0o444)  # whoever the command is; the directory is the caller's alone
        yield replace(
            container,
            argv=["/bin/sh", "-c", f'. {_PLACE}; exec "$@"', "sh", *container.argv],
            environment={
                name: value for name, value in container.environment.items() if name not in hidden
            },
            mounts=[*container.mounts, Mount(source=file, target=_PLACE, read_only=True)],
        )
