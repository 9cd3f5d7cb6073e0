# SPDX-License-Identifier: MIT
"""The image step, compared with copying the image and with other tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.board import BOARD, steps_of
from bench.measure import Row, cost_of, say, seconds
from builder.cli.context import ROOT, default_store
from builder.errors import UserError
from builder.image.image import ROOT_LABEL, Image
from builder.plan.plan import make_plan
from builder.rootfs.layers import LayerStack
from builder.sandbox.process import Processes
from builder.scheduler.build_context import BuildContext
from builder.steps.step import Job
from builder.store.store import Store

AT_MOST = 2.0
_TIMES = 3
"""Repetitions of image step and copy, in turn: the speed of a disk varies over time."""

_WHAT = "image, its layers unpacked: wall"
_GENIMAGE = """\
image boot.vfat {{ vfat {{ label = "PYNQ" }} size = 100M mountpoint = "/boot" }}
image root.ext4 {{ ext4 {{ label = "root" use-mke2fs = true }} size = {size} mountpoint = "/" }}
image card.img {{
    hdimage {{ }}
    partition boot {{ partition-type = 0xC bootable = true image = "boot.vfat" }}
    partition root {{ partition-type = 0x83 image = "root.ext4" }}
}}
"""


def run(place: Path, peers: bool) -> list[Row]:  # noqa: ARG001, FBT001 - the sections' one signature
    """Measure the image step alone, with unpacked layers, until the image is on the disk."""
    output = place / "image"
    image = output / f"{BOARD}.img"
    making, copying, memory = [], [], []
    for turn in range(1, _TIMES + 1):
        say(f"the image step, and copying, {turn} of {_TIMES}")
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        log = place / "image.log"
        ours = cost_of([sys.executable, "-m", "bench.image", output], cwd=ROOT, log=log)
        making.append(float(log.read_text().split("seconds ")[-1]))
        memory.append(ours.memory)
        copying.append(_copying(image, place / "copy.img"))
    taken, full = median(making), _copying(image, place / "full.img", "--sparse=never")
    rows = [
        seconds(
            _WHAT,
            taken,
            "cp of the same bytes, holes left out, with fsync",
            median(copying),
            AT_MOST,
        ),
        seconds(_WHAT, taken, "cp with the holes written, with fsync", full),
        *_other_tools(place, image, taken),
    ]
    memory_row = Row(
        what="image step: peak memory, layers unpacked on tmpfs",
        ours=max(memory),
        unit="bytes",
        against="the image file's data",
        reference=image.stat().st_blocks * 512,
    )
    return [*rows, memory_row]


def _copying(image: Path, copy: Path, *options: str) -> float:
    """Copy an image until it is on the disk, and remove the copy; return the time in seconds."""
    script = 'cp "$@" && for copy; do :; done && sync "$copy"'
    cost = cost_of(["sh", "-c", script, "sh", *options, image, copy])
    copy.unlink()
    return cost.wall


def _other_tools(place: Path, image: Path, taken: float) -> list[Row]:
    """Return the rows for mke2fs, and for genimage if it is installed."""
    output = image.parent
    size = f"{(image.stat().st_size >> 20) - 104}M"
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        root = Path(folder) / "root"
        root.mkdir()
        subprocess.run(["tar", "-C", root, "--xattrs", "-xf", output / "tree.tar"], check=True)
        say("mke2fs")
        mke2fs = cost_of(
            ["mke2fs", "-q", "-F", "-t", "ext4", "-L", ROOT_LABEL, "-d", root,
             place / "root.ext4", size]
        )  # fmt: skip
        (place / "root.ext4").unlink()
        rows = [seconds(_WHAT, taken, "mke2fs -d of the root partition alone", mke2fs.wall)]
        if not shutil.which("genimage"):
            say("skipping genimage: it is not installed")
            return rows
        say("genimage")
        shutil.copytree(output / "fat", root / "boot", dirs_exist_ok=True)
        configuration = place / "genimage.cfg"
        configuration.write_text(_GENIMAGE.format(size=size))
        genimage = cost_of(
            ["genimage", "--config", configuration, "--rootpath", root,
             "--tmppath", place / "tmp", "--outputpath", place / "genimage"],
            log=place / "genimage.log",
        )  # fmt: skip
    return [*rows, seconds(_WHAT, taken, "genimage", genimage.wall)]


def _main() -> None:
    """Run the image step of a built board; write its root filesystem and boot files too."""
    output = Path(sys.argv[1])
    store = Store(default_store())
    steps = steps_of(ROOT, store)
    image = steps.image
    assert isinstance(image, Image)
    entries = {
        item.step: store.get(item.key) if item.key else None
        for item in make_plan(steps.targets, store)
    }
    inputs = {}
    for name, parent in image.parents.items():
        entry = entries[parent]
        if entry is None:
            raise UserError(f"{BOARD} is not built", hint=f"build.py --board {BOARD}")
        inputs[name] = entry
    with (
        store.in_use(),
        BuildContext(store, Processes()) as tools,
        (output / "log").open("w") as log,
    ):
        job = Job(
            inputs=inputs,
            output=output,
            log=log,
            store=store,
            tools=tools,
            on_line=lambda _: None,
        )
        layers = [inputs[name] for name in image.layers]
        with tools.shared(LayerStack).mounted(layers) as root:
            root.workspace.run(
                ["tar", "-C", root.path, "--xattrs", "-cf", output / "tree.tar", "."]
            )
        shutil.copytree(job.input("boot-files") / "fat", output / "fat")
        os.sync()  # the archive must not be flushed to the disk during the measurement
        started = time.monotonic()
        image.run(job)
        with (output / f"{BOARD}.img").open("rb") as file:
            os.fsync(file.fileno())
        sys.stdout.write(f"seconds {time.monotonic() - started}\n")


if __name__ == "__main__":
    _main()
