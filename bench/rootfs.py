# SPDX-License-Identifier: MIT
"""Installation of the packages of the profile `pynq`, compared with native and emulated tools.

All tools install the same packages from the same indexes and the downloads in the store, to a tmpfs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.board import BOARD, new_store, say_event
from bench.measure import Cost, Row, cost_of, say, seconds
from builder.apt.archive import Archive
from builder.apt.distribution_selection import native_archive, select_distribution
from builder.apt.mirrors import mirror
from builder.cli.context import ROOT, default_store
from builder.errors import HostError
from builder.plan.plan import make_plan
from builder.plan.rootfs_steps import root_layers
from builder.rootfs.board_view import BoardView
from builder.rootfs.bootstrap import QEMU_CPU, Bootstrap
from builder.rootfs.mmdebstrap import keep_downloads, options
from builder.sandbox.process import Processes
from builder.scheduler.scheduler import Scheduler
from builder.spec.models import Architecture
from builder.spec.reader import SpecTree
from builder.spec.resolve import resolve
from builder.steps.step import Step
from builder.store.store import Store

_LIB64 = '--setup-hook=mkdir "$1/usr/lib64"; ln -s usr/lib64 "$1/lib64"'
CPU_AT_MOST = 1.3
WALL_AT_MOST = 1.5


@dataclass(frozen=True, kw_only=True)
class _Work:
    """The same packages for the architectures of the target and of the host."""

    target: Archive
    native: Archive
    layers: list[Step]

    @property
    def bootstrap(self) -> Bootstrap:
        step = self.layers[0]
        assert isinstance(step, Bootstrap)
        return step


def run(place: Path, peers: bool) -> list[Row]:  # noqa: FBT001 - the sections' one signature
    """Measure both architectures."""
    rows: list[Row] = []
    for architecture in (Architecture.ARMHF, Architecture.ARM64):
        name = architecture.value
        work = _work(architecture)
        # The lists differ between architectures: on arm64, wheels replace some packages.
        say(f"{name}: the same packages of the build machine's own, by mmdebstrap")
        _mmdebstrap(work.native, work.bootstrap.wanted, place)  # fills the downloads
        limit = _mmdebstrap(work.native, work.bootstrap.wanted, place)
        say(f"{name}: native programs")
        _build(architecture, place / "warm", "native-programs", place)
        _build(architecture, place / "warm", "bootstrap", place)  # fills the downloads
        programs = _build(architecture, place / name, "native-programs", place)
        say(f"{name}: ours")
        ours = _build(architecture, place / name, "bootstrap", place)
        own = "mmdebstrap, the build machine's own"
        rows += [
            seconds(f"{name}: CPU", ours.cpu, own, limit.cpu, CPU_AT_MOST),
            seconds(f"{name}: wall", ours.wall, own, limit.wall, WALL_AT_MOST),
            Row(
                what=f"{name}: peak memory",
                ours=ours.memory,
                unit="bytes",
                against=own,
                reference=limit.memory,
            ),
            seconds(f"{name}: CPU of native programs, once", programs.cpu, own, limit.cpu),
        ]
        if peers:
            say(f"{name}: mmdebstrap, emulated")
            emulated = _mmdebstrap(work.target, work.bootstrap.wanted, place)
            say(f"{name}: debootstrap, emulated")
            old = _debootstrap(work.target, work.bootstrap.wanted, place)
            for peer, cost in (("mmdebstrap", emulated), ("debootstrap", old)):
                rows += [
                    seconds(f"{name}: CPU", ours.cpu, f"{peer} under qemu-user", cost.cpu),
                    seconds(f"{name}: wall", ours.wall, f"{peer} under qemu-user", cost.wall),
                ]
    return rows


def _work(architecture: Architecture) -> _Work:
    store = Store(default_store())
    spec = resolve(SpecTree(root=ROOT), BOARD)
    target = select_distribution(
        spec.distributions, architecture, store, listener=say_event, unusable=spec.unusable
    )
    native = native_archive(target, store, listener=say_event)
    if native is None:
        raise HostError("there is no package archive for the host's architecture to compare with")
    view = BoardView(name=BOARD, board=spec.board)
    layers = root_layers(spec.boardless(), target, view, native=native)
    return _Work(target=target, native=native, layers=layers)


def _build(architecture: Architecture, store: Path, step: str, logs: Path) -> Cost:
    """Return the cost of one step in a separate process; its parents must be cached."""
    return cost_of(
        [sys.executable, "-m", "bench.rootfs", architecture.value, step, store],
        cwd=ROOT,
        log=logs / f"{architecture.value}-{step}.log",
    )


def _mmdebstrap(archive: Archive, packages: list[str], logs: Path) -> Cost:
    """Return the cost of mmdebstrap."""
    store = Store(default_store())
    sources = logs / "sources.list"
    sources.write_text(archive.binary_sources())
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        command = [
            *("mmdebstrap", "--variant=minbase", "--format=tar"),
            f"--include={','.join(packages)}",
            *options(archive, store, Path(folder), say=print),
            # usr-is-merged requires this link to the directory of amd64's loader.
            *([_LIB64] if archive.architecture is Architecture.AMD64 else []),
            f"--customize-hook={keep_downloads(archive, store, Path(folder))}",
            *(archive.distribution.model.suite, f"{folder}/root.tar", str(sources)),
        ]
        return cost_of(
            ["unshare", "--mount", "--propagation", "private", *command],
            environment={
                **os.environ,
                **QEMU_CPU.get(archive.architecture, {}),
                "TMPDIR": folder,
                "SOURCE_DATE_EPOCH": str(archive.epoch),
            },
            log=logs / f"{archive.architecture.value}-mmdebstrap.log",
        )


def _debootstrap(archive: Archive, packages: list[str], logs: Path) -> Cost:
    """Return the cost of debootstrap, which supports only one pocket."""
    pocket = archive.distribution.model.pockets[0]
    cache = logs / "debootstrap-cache"
    cache.mkdir(exist_ok=True)

    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        command = [
            *("debootstrap", "--variant=minbase", f"--arch={archive.architecture.value}"),
            f"--include={','.join(packages)}",
            f"--components={','.join(archive.distribution.model.components)}",
            f"--cache-dir={cache}",
            *(pocket.suite, f"{folder}/root"),
            mirror(archive.distribution, pocket, archive.architecture),
        ]
        script = f"{shlex.join(command)} && tar -C {folder}/root -cf {folder}/root.tar ."
        return cost_of(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            environment={**os.environ, **QEMU_CPU.get(archive.architecture, {})},
            log=logs / f"{archive.architecture.value}-debootstrap.log",
        )


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("architecture", type=Architecture)
    parser.add_argument("step")
    parser.add_argument("store", type=Path)
    arguments = parser.parse_args()
    store = new_store(arguments.store)
    work = _work(arguments.architecture)
    everything = make_plan(work.layers, store)
    step = next(item.step for item in everything if item.step.name == arguments.step)
    logs = Path(tempfile.mkdtemp())
    with store.in_use():
        Scheduler(
            make_plan([step], store),
            store=store,
            logs=logs,
            listener=say_event,
            processes=Processes(),
            jobs=1,
        ).run()
    shutil.rmtree(logs)


if __name__ == "__main__":
    _main()
