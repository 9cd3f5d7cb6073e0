# SPDX-License-Identifier: MIT
"""Writing of an image to a device with bmaptool, and verification by reading it back."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from builder.errors import Interrupted, StepError, UserError
from builder.flash.image import CardImage, Progress
from builder.formats.compression import CHUNK, opened
from builder.sandbox.process import Processes, clean_environment

_BLKFLSBUF = 0x1261
"""ioctl that drops the cached content of a block device (linux/fs.h)."""

_LAST_LINES = 10


def flash(
    image: CardImage, device: Path, size: int, *, progress: Progress, processes: Processes
) -> None:
    """Write an image of `size` bytes to a device and verify it. Needs root.

    Raises:
        StepError: writing failed, or the device returns other data.
        Interrupted: the user asked to stop; the message describes the state of the device.
    """
    with _alone(device):
        try:
            _write(image, device, size, progress, processes)
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"interrupted: {device} is partly written and cannot be used",
                hint="run the command again",
            ) from error
        try:
            verify(image, device, size, progress=progress)
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"interrupted: {device} is written, but the verification was not completed"
            ) from error


def verify(image: CardImage, device: Path, size: int, *, progress: Progress) -> None:
    """Read back an image's ranges with data, from the device itself and not from the page cache.

    Raises:
        StepError: the device returns other data, or cannot be read.
    """
    ranges = image.block_map.ranges if image.block_map else ((0, size),)
    total, done = sum(end - start for start, end in ranges), 0
    with opened(image.path) as wanted, device.open("rb", buffering=0) as written:
        with suppress(OSError):  # a file, in tests
            fcntl.ioctl(written, _BLKFLSBUF)
        here = 0
        for start, end in ranges:
            here = _go_to(wanted, here, start)
            while here < end:
                length = min(CHUNK, end - here)
                expected = _exactly(wanted, length)
                found = _read_at(written, here, length, device)
                if found != expected:
                    at = here + _first_difference(expected, found)
                    raise StepError(
                        f"{device} returns other data than was written, from byte {at} on",
                        hint="the card is worn out, or smaller than it claims: use another card",
                    )
                here += length
                done += length
                progress("verifying", done, total)


@contextmanager
def _alone(device: Path) -> Iterator[None]:
    """Lock a device, so that udev does not probe it and the desktop does not mount it.

    udev ignores locked devices (https://systemd.io/BLOCK_DEVICE_LOCKING).
    """
    with device.open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another program has locked {device}", hint="wait until it has finished"
            ) from error
        yield


def _write(
    image: CardImage, device: Path, size: int, progress: Progress, processes: Processes
) -> None:
    block_map = image.block_map
    how = ["--bmap", str(block_map.path)] if block_map else ["--nobmap"]
    total = block_map.mapped if block_map else size
    ours, theirs = pty.openpty()  # bmaptool only reports progress on a terminal
    process = processes.start(
        ["bmaptool", "copy", *how, "--", str(image.path), str(device)],
        environment=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    try:
        progress("writing", 0, total)
        while chunk := _read_terminal(ours):
            output += chunk
            if percents := re.findall(rb"(\d+)% copied", chunk):
                progress("writing", total * int(percents[-1]) // 100, total)
        status = process.wait()
    finally:
        process.kill()
        process.wait()
        processes.forget(process)
        os.close(ours)
    if status != 0:
        lines = output.decode(errors="replace").replace("\r", "\n").splitlines()
        raise StepError(
            f"writing to {device} failed; it cannot be used in this state",
            hint="reinsert the card, or use another one",
            details=[line for line in lines if line and "% copied" not in line][-_LAST_LINES:],
        )
    progress("writing", total, total)


def _read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: the other end was closed (pty(7), Linux)
        return b""


def _go_to(stream: IO[bytes], here: int, there: int) -> int:
    """Advance a stream to a position, by reading if it is not seekable; return the position."""
    if stream.seekable():
        return stream.seek(there)
    while here < there:
        here += len(_exactly(stream, min(CHUNK, there - here)))
    return here


def _exactly(stream: IO[bytes], length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = stream.read(length - len(data))
        if not more:
            raise UserError(
                "the image ends before its map does: the map belongs to another image",
                hint="download both again, or remove the map to write the whole image",
            )
        data += more
    return data


def _read_at(file: IO[bytes], offset: int, length: int, device: Path) -> bytes:
    data = b""
    try:
        while len(data) < length:
            more = os.pread(file.fileno(), length - len(data), offset + len(data))
            if not more:
                break
            data += more
    except OSError as error:
        raise StepError(f"{device} cannot be read back: {error.strerror}") from error
    return data


def _first_difference(expected: bytes, found: bytes) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b),
        min(len(expected), len(found)),
    )
