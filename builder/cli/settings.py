# SPDX-License-Identifier: MIT
"""The values of `--set`: out of files, and on to the process in which everything begins again.

A value may be a secret. Command lines are seen by everybody on the machine, so that none is passed on
by one.
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
"""Variable of the environment: the file with the settings of the process that began this one."""

TERMINAL: Final = "BUILDER_TERMINAL"
"""Variable of the environment: what was standard input before the settings came that way."""

OPTION: Final = "--set"

_MOST: Final = 1 << 16
"""Bytes of a value's file: what a pipe of Linux holds, too."""


def given(settings: Sequence[str]) -> list[str]:
    """Return settings, those of an earlier process first, with `@FILE` as the file's content.

    Raises:
        UserError: a file cannot be read, or holds more than a value may have.
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
    """Write settings for the process that begins anew into an open file, or a pipe.

    Raises:
        UserError: a pipe has no room for them.
    """
    content = json.dumps([*settings]).encode()
    if stat.S_ISFIFO(os.fstat(file).st_mode) and len(content) > _MOST:
        raise UserError(f"the values of {OPTION} have more than {_MOST >> 10} KiB in all")
    with os.fdopen(file, "wb") as opened:
        opened.write(content)


def _handed_on() -> list[str]:
    name, terminal = (os.environ.pop(each, "") for each in (HANDED_ON, TERMINAL))
    found = [str(each) for each in json.loads(Path(name).read_bytes())] if name else []
    if terminal:
        # Somebody may go on to type there: `shell` does nothing else.
        opened = os.open(terminal, os.O_RDWR)
        os.dup2(opened, 0)
        os.close(opened)
    return found


def _with_content(text: str) -> str:
    """Return a setting with the content of its file; `@@` stands for an @ of the value itself."""
    name, equals, value = text.partition("=")
    if not (equals and value.startswith("@")):
        return text
    if value.startswith("@@"):
        return f"{name}={value[1:]}"
    return f"{name}={_content(name, value[1:])}"


def _content(name: str, file: str) -> str:
    """Return what is in a value's file: a plain file, or a pipe as `/dev/stdin` and `/dev/fd/3`."""
    where = f"{OPTION} {name}=@{file}"
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
            if kind not in (stat.S_IFREG, stat.S_IFIFO):
                raise UserError(f"{where}: should be a plain file or a pipe")
            content = opened.read(_MOST + 1)
        if len(content) > _MOST:
            raise UserError(f"{where}: has more than {_MOST >> 10} KiB, which is the most")
        return content.decode().removesuffix("\n")
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else "is no text in UTF-8"
        raise UserError(
            f"{where}: {said}", hint="a value that begins with @: --set x.y=@@value"
        ) from (error)
