# SPDX-License-Identifier: MIT
"""Writes to registers of an emulated machine before its processors start.

They go through QEMU's debugger interface (gdb's *Remote Serial Protocol*) with physical addresses
(`Qqemu.PhyMemMode`: QEMU's docs/system/gdb.rst). QEMU's option `-device loader` cannot be used: it
writes before the devices are reset.
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
"""Options with which QEMU waits for `write_registers`; the socket is in its working directory."""

_SECONDS = 300.0
"""Time limit for the connection to QEMU's debugger, which took 40 seconds on a busy host."""

_POLL_SECONDS = 0.05
_NOT_YET = {errno.ENOENT, errno.ECONNREFUSED}


def write_registers(
    directory: Path, qemu: subprocess.Popen[str], values: Mapping[int, bytes]
) -> None:
    """Write to physical addresses of a QEMU with the options DEBUGGER, then start its processors.

    If QEMU ends meanwhile, return without an error: `EmulatedBoard.wait_for_ssh` reports it.

    Args:
        directory: QEMU's working directory.
        qemu: its process.
        values: bytes by physical address.

    Raises:
        StepError: QEMU accepts no debugger connection, or refuses a command.
    """
    try:
        with _connected(directory, qemu) as debugger:
            _ask(debugger, "Qqemu.PhyMemMode:1")
            for address, value in values.items():
                _ask(debugger, f"M{address:x},{len(value):x}:{value.hex()}")
            _ask(debugger, "D")  # detach: the machine starts
    except OSError as error:
        if qemu.poll() is None:
            raise StepError(f"QEMU does not answer its debugger: {error}") from error


def _connected(directory: Path, qemu: subprocess.Popen[str]) -> socket.socket:
    """Wait for QEMU's debugger socket and connect to it."""
    end = time.monotonic() + _SECONDS
    place = os.open(directory, os.O_PATH)
    debugger = socket.socket(socket.AF_UNIX)
    debugger.settimeout(_SECONDS)
    try:
        # The path of a socket is limited to 108 bytes (unix(7)); a directory's may be longer.
        while error := debugger.connect_ex(f"/proc/self/fd/{place}/debugger"):
            if error not in _NOT_YET or qemu.poll() is not None or time.monotonic() > end:
                debugger.close()
                raise OSError(error, os.strerror(error))
            time.sleep(_POLL_SECONDS)
    finally:
        os.close(place)
    return debugger


def _ask(debugger: socket.socket, command: str) -> None:
    """Send a command, `$...#checksum`, and wait for the answer `+$OK#9a`."""
    debugger.sendall(f"${command}#{sum(command.encode()) % 256:02x}".encode())
    answer = b""
    while b"#" not in answer[:-2]:
        chunk = debugger.recv(1024)
        if not chunk:
            raise ConnectionError("QEMU closed the connection")
        answer += chunk
    debugger.sendall(b"+")
    if b"$OK#" not in answer:
        raise StepError(f"QEMU's debugger answers {answer.decode()} to {command}")
