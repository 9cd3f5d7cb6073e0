# SPDX-License-Identifier: MIT
"""Python packages in real .deb files, fetched by the real apt."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.apt.archive import Archive
from builder.apt.archive_fetcher import ArchiveFetcher
from builder.python_lock.modules import apt_modules
from tests.fixtures.archive import ARMHF, SUITES, Repository, distribution, flip, needs_tools


def said(text: str) -> None:
    pytest.fail(text)


PACKAGES = "usr/lib/python3/dist-packages"


@pytest.fixture
def archive(repository: Repository, tmp_path: Path, no_proxies: None) -> Archive:
    """An archive with two modules, one of which needs the other, and something else."""
    repository.package(
        "python3-yaml",
        "6.0-3",
        files={f"{PACKAGES}/PyYAML-6.0.egg-info/PKG-INFO": "Name: PyYAML\nVersion: 6.0\n"},
    )
    repository.package(
        "python3-app",
        "1:2.1-1",
        depends="python3-yaml",
        files={f"{PACKAGES}/app_x-2.1.dist-info/METADATA": "Name: app.x\nVersion: 2.1\n\ntext\n"},
    )
    for suite in SUITES:
        repository.pocket(suite)
    made = Archive(
        tmp_path / "archives/one-armhf",
        distribution(repository.url, repository.key.public),
        ARMHF,
    )
    ArchiveFetcher(made).update()
    return made


@needs_tools
def test_modules_have_the_names_and_versions_of_their_metadata(
    archive: Archive, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    found = apt_modules(archive, ["python3-app", "linux-source"], tmp_path / "none", work, say=said)
    assert found == {"app-x": "2.1", "pyyaml": "6.0"}


@needs_tools
def test_what_is_kept_is_not_fetched_again(
    archive: Archive, repository: Repository, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    apt_modules(archive, ["python3-app"], tmp_path / "none", work, say=said)
    assert sorted(path.name for path in work.glob("*.deb")) == [
        "python3-app_1%3a2.1-1_all.deb",
        "python3-yaml_6.0-3_all.deb",
    ]
    for path in (repository.root / "pool").glob("python3-*"):
        path.unlink()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert len(apt_modules(archive, ["python3-app"], work, empty, say=said)) == 2


@needs_tools
def test_what_is_kept_and_damaged_is_fetched_again(archive: Archive, tmp_path: Path) -> None:
    work, kept = tmp_path / "work", tmp_path / "kept"
    work.mkdir()
    kept.mkdir()
    apt_modules(archive, ["python3-app"], tmp_path / "none", kept, say=said)
    name = "python3-app_1%3a2.1-1_all.deb"
    flip(kept / name)
    told: list[str] = []
    assert len(apt_modules(archive, ["python3-app"], kept, work, say=told.append)) == 2
    assert told == [f"{name} in the store is damaged: removed, to be downloaded again"]
    assert [path.name for path in work.glob("*.deb")] == [name]
