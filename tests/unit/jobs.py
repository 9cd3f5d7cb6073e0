# SPDX-License-Identifier: MIT
"""Jobs in which steps run without an engine, and what such steps need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, cast

from builder.containers.containers import Containers
from builder.network.download import Limits
from builder.rootfs.layers import LayerStack, Root
from builder.rootfs.native.tree import NativeTree
from builder.sandbox.compiler_cache import CompilerCache
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PrivateWorkspace, Workspace
from builder.spec.models import Board, Download
from builder.steps.sources import UrlSource
from builder.steps.step import Job, Shared
from builder.store.store import Entry, Store

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


BOARD = Board.model_validate(
    {
        "board": "B",
        "summary": "a board",
        "soc": "zynq",
        "memory": "512M",
        "console": "ttyPS0,115200",
        "root-device": "/dev/mmcblk0p2",
        "devicetree": "b.dts",
        "distro": ["jammy"],
    }
)
"""A board that nothing is read of but what every board has."""


class PlainStack(LayerStack):
    """Stands in for a stack of layers: a plain directory is the tree."""

    def __init__(self, root: Root) -> None:
        super().__init__(root.workspace)
        self.root = root

    @contextmanager
    def mounted(
        self,
        layers: Sequence[Entry],
        *,
        native: NativeTree | None = None,
        log: IO[str] | None = None,
    ) -> Iterator[Root]:
        del layers, native, log
        yield self.root


class PlainTools:
    """What jobs share, without an engine and without containers."""

    jobs = 1
    compiler_cache: CompilerCache | None = None
    containers = cast(Containers, None)

    def __init__(self, store: Store, processes: Processes, root: Root | None = None) -> None:
        self.processes = processes
        self.root = root
        self._store = store

    @contextmanager
    def workspace(self, name: str, *, need: int, network: bool = False) -> Iterator[Workspace]:
        del need
        with (
            self._store.scratch(name) as directory,
            PrivateWorkspace(directory, processes=self.processes, network=network) as workspace,
        ):
            yield workspace

    def shared(self, create: Callable[[Workspace], Shared]) -> Shared:
        assert create is LayerStack
        assert self.root
        return cast(Shared, PlainStack(self.root))


MakeJob = Callable[..., Job]


def url_source(url: str, checksum: str = EMPTY) -> UrlSource:
    download = Download(url=url, sha256=checksum)
    return UrlSource("source", download, scope="s", limits=Limits(waits=()))
