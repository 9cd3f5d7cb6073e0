# SPDX-License-Identifier: MIT
"""Registers of an emulated machine, written before its processors start.

QEMU lets its debugger write them (gdb's *Remote Serial Protocol*), physical addresses too
(`Qqemu.PhyMemMode`: QEMU's docs/system/gdb.rst). Its option `-device loader` comes too early: the
devices are reset after it.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from builder.errors import StepError

DEBUGGER = ("-S", "-gdb", "unix:debugger,server=on,wait=off")
"""With these, QEMU waits for `write_registers`; the socket is in its working directory."""

_SECONDS = 300.0
"""Until QEMU lets its debugger in: on a machine that is busy, it was seen to take 40 seconds."""

_POLL_SECONDS = 0.05
_NOT_YET = {errno.ENOENT, errno.ECONNREFUSED}


def write_registers(
    directory: Path, qemu: subprocess.Popen[str], values: Mapping[int, bytes]
) -> None:
    """Write to physical addresses of a QEMU that runs in a directory with DEBUGGER, and start it.

    If QEMU ends meanwhile, nothing is written: whoever waits for the boot says so.

    Raises:
        StepError: QEMU does not let its debugger in, or does not write.
    """
    try:
        with _connected(directory, qemu) as debugger:
            _ask(debugger, "Qqemu.PhyMemMode:1")
            for address, value in values.items():
                _ask(debugger, f"M{address:x},{len(value):x}:{value.hex()}")
            _ask(debugger, "D")  # goes: the machine starts
    except OSError as error:
        if qemu.poll() is None:
            raise StepError(f"QEMU does not answer its debugger: {error}") from error


def _connected(directory: Path, qemu: subprocess.Popen[str]) -> socket.socket:
    """Return a connection to QEMU's debugger, once there is one."""
    end = time.monotonic() + _SECONDS
    place = os.open(directory, os.O_PATH)
    debugger = socket.socket(socket.AF_UNIX)
    debugger.settimeout(_SECONDS)
    try:
        # Names of sockets are short, those of directories need not be.
        while error := debugger.connect_ex(f"/proc/self/fd/{place}/debugger"):
            if error not in _NOT_YET or qemu.poll() is not None or time.monotonic() > end:
                debugger.close()
                raise OSError(error, os.strerror(error))
            time.sleep(_POLL_SECONDS)
    finally:
        os.close(place)
    return debugger


def _ask(debugger: socket.socket, command: str) -> None:
    """Send a command, `$...#checksum`, and wait for its answer, `+$OK#9a`."""
    debugger.sendall(f"${command}#{sum(command.encode()) % 256:02x}".encode())
    heard = b""
    while b"#" not in heard[:-2]:
        got = debugger.recv(1024)
        if not got:
            raise ConnectionError("it hung up")
        heard += got
    debugger.sendall(b"+")
    if b"$OK#" not in heard:
        raise StepError(f"QEMU's debugger answers {heard.decode()} to {command}")
