# SPDX-License-Identifier: MIT
"""Throughput of buffers for the programmable logic, compared with a program's own memory.

QEMU emulates no caches. A ratio near 1 for uncached buffers shows that the kernel adds no overhead; the
ratio of cached buffers is QEMU's cost of the instructions that clean the caches line by line. On a
board, reading uncached memory is many times slower. To measure there, run `PROGRAM` on it as root.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bench.board import BOARD
from bench.boot import booted, own_image
from bench.measure import Row, say
from builder.boot_test.login import install_key, root_shell
from builder.errors import StepError, UserError

_SSH = 22

PROGRAM = """
import json, mmap, time
import numpy as np, pyxrt

SIZE, TIMES, STEP = 8 << 20, 16, 7 * mmap.PAGESIZE
WHOLE = SIZE + TIMES * STEP
to, back = pyxrt.xclBOSyncDirection

def memory():
    # Page-aligned, as buffers are.
    return np.frombuffer(mmap.mmap(-1, WHOLE), dtype=np.uint8)

def rate(target, source, sync=lambda begin: None):
    # Use other pages each time. Pages a power of two apart share a slot of QEMU's TLB: copying between
    # them takes ten times as long.
    taken = []
    for number in range(TIMES):
        begin = number * STEP
        part = target[begin : begin + SIZE]
        for _ in range(2):  # the second time, pages are mapped and code is translated
            started = time.perf_counter()
            np.copyto(part, source[:SIZE])
            sync(begin)
            last = time.perf_counter() - started
        taken.append(last)
    return SIZE / min(taken) / 1e6

own, other = memory(), memory()
own[:] = 1
found = {"own": rate(other, own)}
for name, flags in (("past the caches", pyxrt.bo.flags.normal), ("cached", pyxrt.bo.flags.cacheable)):
    buffer = pyxrt.bo(pyxrt.device(0), WHOLE, flags, 0)
    array = np.frombuffer(buffer.map(), dtype=np.uint8)
    write, read = (array, own), (other, array)
    if name == "cached":
        write += (lambda begin: buffer.sync(to, SIZE, begin),)
        read += (lambda begin: buffer.sync(back, SIZE, 0),)
    found[f"write, {name}"] = rate(*write)
    found[f"read, {name}"] = rate(*read)
print(json.dumps(found))
"""


def run(place: Path, peers: bool) -> list[Row]:  # noqa: ARG001, FBT001 - the sections' one signature
    """Boot the image in output/ and measure on the emulated board."""
    spec, output = own_image()
    with booted(place, spec, output, [_SSH]) as (board, _):
        users = spec.parameters()["users"]
        if "pyxrt" not in spec.parameters():
            raise UserError(f"the image of {BOARD} has no recipe pyxrt: there are no buffers")
        key = install_key(board.ports[_SSH], str(users["user"]), str(users["password"]), place)
        say("copying to buffers and back")
        done = subprocess.run(
            [*root_shell(board.ports[_SSH], key, place / "ssh_config"), "python3 -"],
            input=PROGRAM,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise StepError("the program failed on the board", details=done.stderr.splitlines()[-10:])
    found: dict[str, float] = json.loads(done.stdout)
    own = found.pop("own")
    return [
        Row(what=f"a buffer: {what}", ours=taken, unit="MB/s", against="copy", reference=own)
        for what, taken in found.items()
    ]
