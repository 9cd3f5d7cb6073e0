# SPDX-License-Identifier: MIT
"""Values of `--set`: reading them from files, and passing them to the re-executed process.

A value may be a secret. All users of a machine can read command lines, so values are never passed in
the command line of another process.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from builder.errors import UserError

HANDED_ON: Final = "BUILDER_SETTINGS"
"""Environment variable: the file with the settings of the parent process."""

TERMINAL: Final = "BUILDER_TERMINAL"
"""Environment variable: the terminal that standard input was before it carried the settings."""

OPTION: Final = "--set"

_MOST: Final = 1 << 16
"""Maximum size of a value's file in bytes; also the capacity of a Linux pipe."""


def given(settings: Sequence[str]) -> list[str]:
    """Return the parent process's settings, then `settings` with the contents of `@FILE` values.

    Raises:
        UserError: a file cannot be read or is too large.
    """
    return [*_handed_on(), *(_with_content(text) for text in settings)]


def without(argv: Sequence[str]) -> list[str]:
    """Return a command line without its settings."""
    words, left = iter(argv), []
    for word in words:
        if word == OPTION:
            next(words, None)
        elif not word.startswith(f"{OPTION}="):
            left.append(word)
    return left


def hand_on(settings: Sequence[str], file: int) -> None:
    """Write settings for the re-executed process into an open file or pipe, and close it.

    Raises:
        UserError: the settings do not fit into a pipe.
    """
    content = json.dumps([*settings]).encode()
    if stat.S_ISFIFO(os.fstat(file).st_mode) and len(content) > _MOST:
        raise UserError(f"the values of {OPTION} are larger than {_MOST >> 10} KiB in total")
    with os.fdopen(file, "wb") as opened:
        opened.write(content)


def _handed_on() -> list[str]:
    name, terminal = (os.environ.pop(each, "") for each in (HANDED_ON, TERMINAL))
    found = [str(each) for each in json.loads(Path(name).read_bytes())] if name else []
    if terminal:
        # Interactive commands such as `shell` need the terminal again.
        opened = os.open(terminal, os.O_RDWR)
        os.dup2(opened, 0)
        os.close(opened)
    return found


def _with_content(text: str) -> str:
    """Return a setting with the content of its file; `@@` is an escaped @."""
    name, equals, value = text.partition("=")
    if not (equals and value.startswith("@")):
        return text
    if value.startswith("@@"):
        return f"{name}={value[1:]}"
    return f"{name}={_content(name, value[1:])}"


def _content(name: str, file: str) -> str:
    """Return the content of a regular file or a pipe, such as `/dev/stdin` or `/dev/fd/3`."""
    where = f"{OPTION} {name}=@{file}"
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
            if kind not in (stat.S_IFREG, stat.S_IFIFO):
                raise UserError(f"{where}: must be a regular file or a pipe")
            content = opened.read(_MOST + 1)
        if len(content) > _MOST:
            raise UserError(f"{where}: is larger than the limit of {_MOST >> 10} KiB")
        return content.decode().removesuffix("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise UserError(
            f"{where}: {reason}", hint="to set a value that begins with @, double it: x.y=@@value"
        ) from error
