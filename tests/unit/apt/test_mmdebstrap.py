# SPDX-License-Identifier: MIT
"""Options of mmdebstrap in all steps, and the checks before it runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from builder.apt.archive import Archive
from builder.apt.archive_fetcher import ArchiveFetcher
from builder.apt.settings import VERIFIED
from builder.apt.verification import DamagedIndexes
from builder.rootfs.mmdebstrap import downloads, options
from builder.store.store import Store
from tests.fixtures.archive import (
    ARMHF,
    Repository,
    damage_index,
    distribution,
    flip,
    needs_tools,
)

pytestmark = needs_tools


@pytest.fixture
def archive(repository: Repository, tmp_path: Path, quick_signatures: None) -> Archive:
    made = Archive(
        tmp_path / "one-armhf", distribution(repository.url, repository.key.public), ARMHF
    )
    ArchiveFetcher(made).update()
    return made


def test_apt_in_the_tree_takes_nothing_that_is_not_signed(
    archive: Archive, store: Store, tmp_path: Path
) -> None:
    assert {f"--aptopt={line}" for line in VERIFIED} <= {
        *options(archive, store, tmp_path, say=print)
    }


def test_packages_that_are_kept_are_checked_before(
    archive: Archive, repository: Repository, store: Store, tmp_path: Path
) -> None:
    said: list[str] = []
    kept = downloads(archive, store)
    name = "linux-source_5.15-1_all.deb"
    shutil.copyfile(repository.root / "pool" / name, kept / name)
    options(archive, store, tmp_path, say=said.append)
    assert (kept / name).exists()
    assert not said
    flip(kept / name)
    options(archive, store, tmp_path, say=said.append)
    assert not (kept / name).exists()
    assert said == [f"{name} in the store is damaged: removed, to be downloaded again"]


def test_damaged_indexes_are_not_given_to_it(
    archive: Archive, store: Store, tmp_path: Path
) -> None:
    damage_index(archive, "one")
    with pytest.raises(DamagedIndexes):
        options(archive, store, tmp_path, say=print)
