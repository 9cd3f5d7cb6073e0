# SPDX-License-Identifier: MIT
"""The same root filesystem, with the build machine's own programs and all emulated.

Every file must be the same: native execution is for speed alone. A root filesystem needs no
board, so that all architectures are compared.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from builder.apt.distribution_selection import native_archive, select_distribution
from builder.cli.context import default_store
from builder.engine.host import host_architecture
from builder.plan.plan import make_plan
from builder.plan.rootfs_steps import root_layers
from builder.report.events import Event
from builder.rootfs.board_view import BoardView
from builder.rootfs.native.tree import NativeTree
from builder.sandbox.process import Processes
from builder.scheduler.scheduler import Scheduler
from builder.spec.models import Architecture
from builder.spec.reader import SpecTree
from builder.spec.resolve import resolve
from builder.steps.layer_archive import LAYER
from builder.steps.step import Step
from builder.store.store import Entry, Store
from tests.fixtures.product import BOARD, ROOT

ARCHITECTURES = [Architecture.ARMHF, Architecture.ARM64]

DIFFERENCES: dict[str, str] = {}
"""Paths that may differ, and why."""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(host_architecture() is None, reason="the machine has no known twin"),
]

Built = dict[tuple[Architecture, bool], list[tuple[str, Path]]]


def show(event: Event) -> None:
    sys.stdout.write(f"{event}\n")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The layers of all root filesystems: name of the step and archive, the lowest first."""
    store = Store(default_store())
    spec = resolve(SpecTree(root=ROOT), BOARD)
    steps: dict[tuple[Architecture, bool], Sequence[Step]] = {}
    for architecture in ARCHITECTURES:
        archive = select_distribution(
            spec.distributions, architecture, store, listener=show, unusable=spec.unusable
        )
        native = native_archive(archive, store, listener=show)
        for programs in (native, None):
            steps[architecture, programs is not None] = root_layers(
                spec.boardless(), archive, BoardView(name=BOARD, board=spec.board), native=programs
            )
    with store.in_use():
        entries = Scheduler(
            make_plan([layers[-1] for layers in steps.values()], store),
            store=store,
            logs=tmp_path_factory.mktemp("logs"),
            listener=show,
            processes=Processes(),
            jobs=2,
        ).run()
    return {
        which: [(step.name, layer_of(entries[step])) for step in layers]
        for which, layers in steps.items()
    }


def layer_of(entry: Entry) -> Path:
    return entry.files / LAYER


def content(path: Path) -> dict[str, tuple[object, ...]]:
    """Return all that a layer says of each file: kind, mode, owner, links, xattrs, content."""
    return dict(_content(path))


def _content(path: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    with (
        subprocess.Popen(["zstd", "-dcq", str(path)], stdout=subprocess.PIPE) as unpack,
        tarfile.open(fileobj=unpack.stdout, mode="r|") as layer,
    ):
        for item in layer:
            file = layer.extractfile(item) if item.isreg() else None
            digest = hashlib.sha256(file.read()).hexdigest() if file else ""
            attributes = {k: v for k, v in item.pax_headers.items() if k.startswith("SCHILY.xattr")}
            device = (item.devmajor, item.devminor)
            yield (
                item.name,
                (
                    *(item.type, oct(item.mode), item.uid, item.gid, item.linkname, device),
                    *(int(item.mtime), sorted(attributes.items()), item.size, digest),
                ),
            )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_native_execution_changes_no_file(built: Built, architecture: Architecture) -> None:
    native, emulated = (built[architecture, flag] for flag in (True, False))
    assert [name for name, _ in native] == [name for name, _ in emulated]
    found: list[str] = []
    for (name, ours), (_, theirs) in zip(native, emulated, strict=True):
        left, right = content(ours), content(theirs)
        assert left, f"{name} is empty"
        found += [
            f"{name}: {path}: {left.get(path)} natively, {right.get(path)} emulated"
            for path in sorted({*left, *right})
            if left.get(path) != right.get(path) and path.lstrip("./") not in DIFFERENCES
        ]
    assert not found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_of_the_machine_is_left(built: Built, architecture: Architecture) -> None:
    host = host_architecture()
    assert host
    tree = NativeTree(files=Path(), architecture=host)
    ours = (f".{tree.libraries}", f".{tree.loader}")
    for _, path in built[architecture, True]:
        assert not [name for name in content(path) if name.startswith(ours)]
