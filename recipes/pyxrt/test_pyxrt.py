# SPDX-License-Identifier: MIT
"""Buffers for the programmable logic, allocated with pyxrt."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]

# Physical pages are read without the processor's caches, which QEMU does not emulate.
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


def test_physical_pages_hold_what_was_written(run_python: Callable[..., str]) -> None:
    """Buffers in Python and their physical addresses have the same content."""
    found = json.loads(run_python(BUFFERS))
    sizes = (1, 8192, 3_000_001)
    wanted = [[kind, size, True, True, 253] for kind in ("normal", "cacheable") for size in sizes]
    assert found == wanted


@pytest.mark.long("each count of free memory makes buffers until there are none left")
def test_buffers_are_given_back(
    host: Host, meminfo: dict[str, int], free_contiguous: Callable[[], int]
) -> None:
    """The buffers of a killed process are freed."""
    before = free_contiguous()
    assert before > meminfo["CmaTotal"] // 1024 // 2
    code = (
        "import os, pyxrt; d = pyxrt.device(0); "
        "b = [pyxrt.bo(d, 1 << 20, pyxrt.bo.flags.normal, 0) for _ in range(32)]; "
        "v = [each.map() for each in b]; "
        "print(next(l for l in open('/proc/meminfo') if 'CmaFree' in l).split()[1], flush=True); "
        "os.kill(os.getpid(), 9)"
    )
    # Another command must follow, since ssh cannot report the signal of the last one.
    meanwhile = host.check_output("python3 -c %s; true", code)
    assert int(meanwhile) <= meminfo["CmaTotal"] // 1024 - 32 * 1024
    assert free_contiguous() > before - 2048


def test_the_boards_user_has_buffers(host: Host, parameters: Parameters) -> None:
    """The user can allocate a buffer without being root; other users cannot."""
    code = "import pyxrt; print(len(pyxrt.bo(pyxrt.device(0), 4096, 0, 0).map()))"
    user = parameters["users"]["user"]
    assert host.check_output("runuser -u %s -- python3 -c %s", user, code) == "4096"
    refused = host.run("runuser -u nobody -- python3 -c %s", code)
    assert refused.rc == 1
    assert "PermissionError: [Errno 13] not allowed to use the buffer device" in refused.stderr


def test_too_much_is_refused(host: Host) -> None:
    """Allocating a buffer larger than the memory fails without a kernel warning."""
    before = host.check_output("dmesg")
    code = "import pyxrt; pyxrt.bo(pyxrt.device(0), 1 << 31, pyxrt.bo.flags.normal, 0)"
    refused = host.run("python3 -c %s", code)
    assert "OSError: [Errno 12]" in refused.stderr
    assert host.check_output("dmesg") == before
