# SPDX-License-Identifier: MIT
"""Steps that use packages of an archive do not use damaged ones."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from builder.apt.archive import Archive
from builder.apt.archive_fetcher import ArchiveFetcher
from builder.apt.verification import DamagedIndexes
from builder.rootfs.added_packages import AddedPackages
from builder.rootfs.layers import MountedRoot
from builder.rootfs.mmdebstrap import downloads
from builder.sandbox.process import Processes
from builder.sandbox.workspace import Workspace
from builder.steps.sources import PackageSource
from builder.steps.step import Job, Tools
from builder.store.checksum import sha256
from builder.store.store import Store
from tests.fixtures.archive import (
    ARMHF,
    QuietHandler,
    Repository,
    damage_index,
    distribution,
    flip,
    needs_tools,
    serving,
)
from tests.fixtures.specs import Here

pytestmark = [needs_tools, pytest.mark.usefixtures("no_proxies", "quick_signatures")]

NAME = "linux-source_5.15-1_all.deb"


class Served:
    """An archive that is served by HTTP, since apt does not copy files of this machine."""

    def __init__(self, archive: Archive, repository: Repository) -> None:
        self.archive = archive
        self.deb = repository.root / "pool" / NAME


@pytest.fixture
def served(repository: Repository, tmp_path: Path) -> Iterator[Served]:
    with serving(partial(QuietHandler, directory=str(repository.root))) as host:
        named = distribution(f"http://{host}", repository.key.public)
        archive = Archive(tmp_path / "one-armhf", named, ARMHF)
        ArchiveFetcher(archive).update()
        yield Served(archive, repository)


@pytest.fixture
def plain_job(tmp_path: Path, store: Store, processes: Processes) -> Job:
    """A job that runs commands without a sandbox."""
    for name in ("output", "work"):
        (tmp_path / name).mkdir()
    here = Here(tmp_path / "work")
    tools = SimpleNamespace(processes=processes, workspace=here.workspace)
    return Job(
        inputs={},
        output=tmp_path / "output",
        log=io.StringIO(),
        store=store,
        tools=cast(Tools, tools),
        on_line=lambda _: None,
    )


def added(archive: Archive, job: Job, folder: Path) -> Path:
    """Fetch a package for an empty system; return its file."""
    status = folder / "root/var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.touch()
    root = MountedRoot(
        path=folder / "root", changes=folder / "changes", workspace=cast(Workspace, Here(folder))
    )
    step = AddedPackages(archive, ["linux-source"], below=[], native=None, epoch=0, scope="s")
    return step._fetch(job, root, folder / "scratch") / NAME  # noqa: SLF001 - without layers


def test_a_package_that_is_kept_is_not_downloaded_again(
    served: Served, plain_job: Job, tmp_path: Path
) -> None:
    kept = downloads(served.archive, plain_job.store) / NAME
    served.deb.rename(kept)
    (tmp_path / "scratch").mkdir()
    assert sha256(added(served.archive, plain_job, tmp_path)) == sha256(kept)


def test_a_damaged_package_is_downloaded_again(
    served: Served, plain_job: Job, tmp_path: Path
) -> None:
    kept = downloads(served.archive, plain_job.store) / NAME
    shutil.copyfile(served.deb, kept)
    flip(kept)
    (tmp_path / "scratch").mkdir()
    assert sha256(added(served.archive, plain_job, tmp_path)) == sha256(served.deb)
    assert sha256(kept) == sha256(served.deb)
    assert isinstance(plain_job.log, io.StringIO)
    assert f"{NAME} in the store is damaged" in plain_job.log.getvalue()


def test_sources_are_fetched_by_whole_indexes_alone(served: Served, plain_job: Job) -> None:
    source = PackageSource(
        "linux", served.archive, served.archive.source("linux-source", binary=True)
    )
    damage_index(served.archive, "one")
    with pytest.raises(DamagedIndexes):
        source.run(plain_job)
    ArchiveFetcher(served.archive).update()
    source.run(plain_job)
    assert [path.name for path in plain_job.output.iterdir()] == [NAME]
