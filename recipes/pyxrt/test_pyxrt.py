# SPDX-License-Identifier: MIT
"""Buffers that the programmable logic can reach, as programs get them."""

import json
from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]

# What a buffer's physical pages hold is read past all caches but QEMU's, which has none.
BUFFERS = """
import gc, json, mmap, os, pyxrt
board = pyxrt.device(0)
to, back = pyxrt.xclBOSyncDirection
memory = os.open("/dev/mem", os.O_RDWR | os.O_SYNC)
found = []
for flags in pyxrt.bo.flags:
    for size in (1, 8192, 3_000_001):
        buffer = pyxrt.bo(board, size, flags, 0)
        view = buffer.map()
        empty = not any(view)
        view[:] = bytes(number % 251 for number in range(size))
        buffer.sync(to)
        physical = mmap.mmap(memory, (size + 4095) & -4096, offset=buffer.address())
        same = physical[:size] == bytes(view)
        physical[size - 1] = 253
        buffer.sync(back)
        found.append([flags.name, size, empty, same, view[-1]])
        physical.close()
        del view, buffer
        gc.collect()
print(json.dumps(found))
"""

# Each has a quarter of the contiguous memory, in four buffers. (CmaFree tells less: the kernel lends
# free contiguous memory to programs and files.)
KILLED = """
import os, signal, pyxrt
with open("/proc/meminfo") as table:
    kib = next(int(line.split()[1]) for line in table if line.startswith("CmaTotal"))
for _ in range(8):
    process = os.fork()
    if process == 0:
        board = pyxrt.device(0)
        buffers = [pyxrt.bo(board, kib * 64, pyxrt.bo.flags.normal, 0) for _ in range(4)]
        views = [buffer.map() for buffer in buffers]
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    print(os.waitstatus_to_exitcode(status))
"""


def test_physical_pages_hold_what_was_written(host: Host) -> None:
    """What Python writes into buffers stands at their physical addresses, and the other way round."""
    found = json.loads(host.check_output("python3 -c %s", BUFFERS))
    sizes = (1, 8192, 3_000_001)
    wanted = [[kind, size, True, True, 253] for kind in ("normal", "cacheable") for size in sizes]
    assert found == wanted


def test_buffers_are_given_back(host: Host) -> None:
    """Processes that are killed, one after another, together have twice the memory there is."""
    done = host.run("python3 -c %s", KILLED)
    assert done.stdout.split() == ["-9"] * 8, done.stderr


def test_the_boards_user_has_buffers(host: Host, parameters: Parameters) -> None:
    """The user gets a buffer without being root; others do not."""
    code = "import pyxrt; print(len(pyxrt.bo(pyxrt.device(0), 4096, 0, 0).map()))"
    user = parameters["users"]["user"]
    assert host.check_output("runuser -u %s -- python3 -c %s", user, code) == "4096"
    refused = host.run("runuser -u nobody -- python3 -c %s", code)
    assert refused.rc == 1
    assert "PermissionError: [Errno 13] not allowed to use the buffer device" in refused.stderr


def test_too_much_is_refused(host: Host) -> None:
    """A buffer larger than the memory is an error, and the kernel has nothing to say of it."""
    before = host.check_output("dmesg")
    code = "import pyxrt; pyxrt.bo(pyxrt.device(0), 1 << 31, pyxrt.bo.flags.normal, 0)"
    refused = host.run("python3 -c %s", code)
    assert "OSError: [Errno 12]" in refused.stderr
    assert host.check_output("dmesg") == before
