# SPDX-License-Identifier: MIT
"""Processes and files that tests left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LARGE = 1 << 20
"""Bytes on the disk from which on a file is large."""


def naming(text: str) -> dict[int, str]:
    """Return the processes whose command line or environment holds a text.

    Their commands are given with the word or variable that holds it, which tells of the test. This
    process and those that it descends from do not count.
    """
    found = {}
    family = {*_family()}
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) in family:
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            words = (command + (folder / "environ").read_bytes()).split(b"\0")
        except OSError:  # it has ended, or is another user's
            continue
        shown = os.fsdecode(command.replace(b"\0", b" ").strip())
        holding = [word for word in map(os.fsdecode, words) if text in word]
        if holding:
            found[int(folder.name)] = f"{shown} ({holding[0]})"
    return found


def remaining(text: str, seconds: float) -> dict[int, str]:
    """Wait until no process names a text; return those that still do after a time."""
    end = time.monotonic() + seconds
    while (found := naming(text)) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def _family() -> Iterator[int]:
    number = os.getpid()
    while number:
        yield number
        # The command's name, in parentheses, may hold anything.
        status = Path(f"/proc/{number}/stat").read_text()
        number = int(status.rpartition(")")[2].split()[1])


def remove_large_files(folder: Path) -> None:
    """Remove the files below a directory that take much of the disk, as far as that is allowed."""
    folders = [folder]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False) and _is_large(entry):
                    Path(entry.path).unlink()


def _is_large(file: os.DirEntry[str]) -> bool:
    return file.stat(follow_symlinks=False).st_blocks * 512 >= _LARGE
