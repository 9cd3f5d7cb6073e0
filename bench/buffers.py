# SPDX-License-Identifier: MIT
"""How fast a program reaches buffers for the programmable logic, against its own memory.

Under QEMU there are no caches, so that all is alike: that the ratio is near 1 says that the kernel
puts nothing in the way. On a board, memory past the caches is many times slower to read. To measure
there, run what is in `PROGRAM` on it, as root.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bench.board import BOARD
from bench.boot import booted, own_image
from bench.measure import Row, say
from builder.errors import StepError, UserError
from builder.machine.login import install_key, root_shell

_SSH = 22

PROGRAM = """
import json, time
import numpy as np, pyxrt

SIZE, TIMES = 8 << 20, 8
to, back = pyxrt.xclBOSyncDirection
own = np.arange(SIZE, dtype=np.uint8)

def rate(work):
    work()  # pages are there, code is translated
    taken = []
    for _ in range(TIMES):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return SIZE / min(taken) / 1e6

def copied(target, source, *syncs):
    def work():
        np.copyto(target, source)
        for sync in syncs:
            sync()
    return rate(work)

found = {"own": copied(np.empty_like(own), own)}
for name, flags in (("past the caches", pyxrt.bo.flags.normal), ("cached", pyxrt.bo.flags.cacheable)):
    buffer = pyxrt.bo(pyxrt.device(0), SIZE, flags, 0)
    array = np.frombuffer(buffer.map(), dtype=np.uint8)
    syncs = [] if name == "past the caches" else [lambda: buffer.sync(to)]
    found[f"write, {name}"] = copied(array, own, *syncs)
    syncs = [] if name == "past the caches" else [lambda: buffer.sync(back)]
    found[f"read, {name}"] = copied(np.empty_like(own), array, *syncs)
print(json.dumps(found))
"""


def run(place: Path, peers: bool) -> list[Row]:  # noqa: ARG001, FBT001 - the sections' one signature
    """Boot the image in output/, and measure on it."""
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
