# SPDX-License-Identifier: MIT
"""An archive: its indexes, fetched and verified by the real apt."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import time
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from builder.apt.archive import Archive, ArchiveUnavailable, PocketUnavailable
from builder.apt.archive_fetcher import ArchiveFetcher
from builder.spec.resolve import NamedDistribution
from builder.store.checksum import sha256
from tests.fixtures.archive import (
    ARMHF,
    DAY,
    EPOCH,
    SUITES,
    Key,
    QuietHandler,
    Repository,
    copy_of,
    distribution,
    needs_tools,
    serving,
    spoil_index,
)

pytestmark = needs_tools


@pytest.fixture
def strict_archive(repository: Repository, tmp_path: Path) -> Archive:
    """An archive whose signatures apt verifies with Debian's own script."""
    return Archive(
        tmp_path / "one-armhf", distribution(repository.url, repository.key.public), ARMHF
    )


@pytest.fixture
def archive(strict_archive: Archive, quick_signatures: None) -> Archive:
    """The same for tests that are not about signatures."""
    return strict_archive


@pytest.fixture(scope="module")
def fetched(original: Repository, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The archive's indexes, fetched; not to be changed."""
    root = tmp_path_factory.mktemp("fetched") / "one-armhf"
    archive = Archive(root, distribution(original.url, original.key.public), ARMHF)
    assert not archive.known
    ArchiveFetcher(archive).update()
    return archive


@pytest.fixture(scope="module")
def updated(original: Repository, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The indexes of an archive with updates, fetched; not to be changed."""
    folder = tmp_path_factory.mktemp("updated")
    repository = copy_of(original, folder / "mirror")
    repository.package("linux-source", "5.15-10")
    repository.package("linux-source", "5.15-9")
    repository.package("tool", "1:2~rc1-3+b1")
    repository.pocket("one-updates")
    named = distribution(repository.url, repository.key.public)
    archive = Archive(folder / "one-armhf", named, ARMHF)
    ArchiveFetcher(archive).update()
    return archive


def test_it_can_be_handed_to_another_process(fetched: Archive) -> None:
    there = pickle.loads(pickle.dumps(fetched))  # noqa: S301 - our own
    assert there.known
    assert there.pockets == fetched.pockets


def record(archive: Archive) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((archive.root / "release.json").read_text())
    return loaded


def in_release(repository: Repository, suite: str) -> Path:
    return repository.root / f"dists/{suite}/InRelease"


def test_an_archive_is_known_once_it_was_fetched(fetched: Archive) -> None:
    assert fetched.known
    assert Archive(fetched.root, fetched.distribution, ARMHF).known
    assert fetched.root.name == "one-armhf"


def test_an_archive_at_another_mirror_is_not_known(fetched: Archive) -> None:
    mirrors = {"main": "http://elsewhere.invalid"}
    moved = NamedDistribution(name="one", model=fetched.distribution.model, mirrors=mirrors)
    assert not Archive(fetched.root, moved, ARMHF).known


def test_every_pocket_counts_with_the_hash_of_its_release_file(
    fetched: Archive, original: Repository
) -> None:
    hashes = {suite: sha256(in_release(original, suite)) for suite in SUITES}
    assert len({*hashes.values()}) == len(SUITES)
    assert fetched.pockets == hashes
    assert fetched.left_out == {}


def test_its_time_is_that_of_the_newest_pocket(fetched: Archive) -> None:
    assert fetched.epoch == EPOCH


def test_packages_that_hold_sources_are_found_with_their_hashes(
    fetched: Archive, original: Repository
) -> None:
    linux = fetched.source("linux-source", binary=True)
    assert (linux.name, linux.version, linux.binary) == ("linux-source", "5.15-1", True)
    (deb,) = linux.files
    assert deb.sha256 == sha256(original.root / "pool" / deb.name)
    u_boot = fetched.source("u-boot", binary=False)
    assert u_boot.version == "2022.01-1"
    assert {file.name: file.sha256 for file in u_boot.files} == {
        name: sha256(original.root / "pool" / name)
        for name in ("u-boot_2022.01-1.dsc", "u-boot_2022.01-1.tar.gz")
    }


def test_the_newest_version_of_all_pockets_is_taken(
    archive: Archive, repository: Repository
) -> None:
    repository.package("linux-source", "5.15-10")
    repository.source("u-boot", "2022.01-10")
    repository.source("u-boot", "2022.01-9")
    repository.pocket("one-updates")
    ArchiveFetcher(archive).update()
    assert archive.source("linux-source", binary=True).version == "5.15-10"
    assert archive.source("u-boot", binary=False).version == "2022.01-10"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["linux-source"], {"linux-source": "5.15-10"}),
        (["tool", "linux-source"], {"linux-source": "5.15-10", "tool": "1:2~rc1-3+b1"}),
        (["none", "tool", "not-there"], {"tool": "1:2~rc1-3+b1"}),
        (["none"], {}),
        ([], {}),
    ],
)
def test_versions_are_those_that_would_be_installed(
    updated: Archive, asked: list[str], found: dict[str, str]
) -> None:
    assert updated.versions(asked) == found


@pytest.mark.parametrize("name", ["a~b=c!d@e$f^g&h*i", "a|b{c}d+e:f,g'h(i)äöü"])
def test_lists_are_found_whatever_apt_calls_them(
    repository: Repository, quick_signatures: None, tmp_path: Path, name: str
) -> None:
    shutil.move(repository.root, tmp_path / name)
    url = f"file://{tmp_path / name}"
    archive = Archive(tmp_path / "one-armhf", distribution(url, repository.key.public), ARMHF)
    ArchiveFetcher(archive).update()
    assert set(archive.pockets) == set(SUITES)


@pytest.mark.parametrize("login", ["", "user:p%40ss@"])
def test_lists_from_a_server_are_found_with_and_without_a_login(
    repository: Repository, quick_signatures: None, no_proxies: None, tmp_path: Path, login: str
) -> None:
    with serving(partial(QuietHandler, directory=str(repository.root.parent))) as host:
        url = f"http://{login}{host}/{repository.root.name}"
        archive = Archive(tmp_path / "one-armhf", distribution(url, repository.key.public), ARMHF)
        ArchiveFetcher(archive).update()
    assert set(archive.pockets) == set(SUITES)


def test_a_package_that_is_not_there_is_named(archive: Archive, repository: Repository) -> None:
    repository.sources.clear()
    for suite in SUITES:
        repository.pocket(suite)
    ArchiveFetcher(archive).update()
    with pytest.raises(ArchiveUnavailable, match=r"^one has no source package u-boot$"):
        archive.source("u-boot", binary=False)


def test_downloads_are_those_of_the_index(fetched: Archive, tmp_path: Path) -> None:
    for name, binary in {"linux-source": True, "u-boot": False}.items():
        package = fetched.source(name, binary=binary)
        command = ArchiveFetcher(fetched).download_command(package)
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        for file in package.files:
            assert sha256(tmp_path / file.name) == file.sha256


def test_a_download_that_was_tampered_with_is_refused(
    archive: Archive, repository: Repository, tmp_path: Path
) -> None:
    ArchiveFetcher(archive).update()
    package = archive.source("linux-source", binary=True)
    path = repository.root / "pool" / package.files[0].name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    folder = tmp_path / "downloads"
    folder.mkdir()
    done = subprocess.run(
        ArchiveFetcher(archive).download_command(package),
        cwd=folder,
        check=False,
        capture_output=True,
    )
    assert done.returncode != 0
    assert list(folder.iterdir()) == []


def test_lists_for_builds_and_images(fetched: Archive, original: Repository) -> None:
    lines = fetched.binary_sources().splitlines()
    signed = f"[signed-by={original.key.public}]"
    assert lines == [f"deb {signed} {original.url} {suite} main" for suite in SUITES]
    image = fetched.image_sources().splitlines()
    assert image == [f"deb {original.url} {suite} main" for suite in SUITES]


def test_the_image_gets_the_public_mirror_not_the_users(
    archive: Archive, repository: Repository
) -> None:
    near = NamedDistribution(
        name="one",
        model=archive.distribution.model.model_copy(
            update={"mirrors": {"main": "http://far.invalid", "security": "http://sec.invalid/"}}
        ),
        mirrors={"main": repository.url, "security": f"{repository.url}/"},
    )
    archive = Archive(archive.root, near, ARMHF)
    ArchiveFetcher(archive).update()
    assert archive.image_sources() == (
        "deb http://far.invalid one main\n"
        "deb http://far.invalid one-updates main\n"
        "deb http://sec.invalid one-security main\n"
    )
    assert "invalid" not in archive.binary_sources()


@pytest.mark.parametrize("spoil", ["wrong key", "no signature", "changed", "gone"])
def test_what_is_not_signed_by_the_keyring_is_refused(
    strict_archive: Archive, repository: Repository, keys: tuple[Key, Key], spoil: str
) -> None:
    path = in_release(repository, "one")
    if spoil == "wrong key":
        repository.pocket("one", key=keys[1])
    elif spoil == "no signature":
        path.rename(path.with_name("Release"))
    elif spoil == "changed":
        path.write_text(path.read_text().replace("Origin: Test", "Origin: Evil"))
    else:
        shutil.rmtree(path.parent)
    with pytest.raises(ArchiveUnavailable, match=r"^one: apt-get update failed$") as caught:
        ArchiveFetcher(strict_archive).update()
    assert any("one" in line and line.startswith("E:") for line in caught.value.details)
    assert not strict_archive.known
    assert not list((strict_archive.root.parent / "sets").iterdir())


def test_a_failed_update_leaves_the_old_indexes(archive: Archive, repository: Repository) -> None:
    ArchiveFetcher(archive).update()
    before = record(archive)
    (repository.root / "dists/one/main/binary-armhf/Packages").write_text("")
    with pytest.raises(ArchiveUnavailable):
        ArchiveFetcher(archive).update()
    assert archive.known
    assert record(archive) == before
    assert archive.source("linux-source", binary=True).version == "5.15-1"


def test_a_build_that_runs_keeps_its_indexes_during_an_update(
    archive: Archive, repository: Repository, tmp_path: Path
) -> None:
    place = archive.root
    ArchiveFetcher(archive).update()
    running = Archive(place, archive.distribution, ARMHF)
    repository.package("linux-source", "5.16-1")
    repository.pocket("one", epoch=EPOCH + DAY)
    ArchiveFetcher(archive).update()
    assert Archive(place, archive.distribution, ARMHF).root == archive.root != running.root
    assert running.root.name == archive.root.name == "one-armhf"
    for used, version in {running: "5.15-1", archive: "5.16-1"}.items():
        (release,) = used.lists.glob("*_dists_one_InRelease")
        assert sha256(release) == used.pockets["one"]
        package = used.source("linux-source", binary=True)
        assert package.version == version
        command = ArchiveFetcher(used).download_command(package)
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        assert sha256(tmp_path / package.files[0].name) == package.files[0].sha256


def test_an_update_sees_what_is_new(archive: Archive, repository: Repository) -> None:
    ArchiveFetcher(archive).update()
    before = dict(archive.pockets)
    repository.package("linux-source", "5.16-1")
    repository.pocket("one", epoch=EPOCH + DAY)
    assert archive.source("linux-source", binary=True).version == "5.15-1", "not before"
    ArchiveFetcher(archive).update()
    assert archive.source("linux-source", binary=True).version == "5.16-1"
    assert archive.epoch == EPOCH + DAY
    changed = {suite for suite in SUITES if archive.pockets[suite] != before[suite]}
    assert changed == {"one"}


def test_a_later_pocket_that_is_broken_is_left_out_with_the_reason(
    archive: Archive, repository: Repository
) -> None:
    repository.package("linux-source", "5.16-1")
    repository.pocket("one-updates")
    spoil_index(repository, "one-updates")
    ArchiveFetcher(archive).update()
    assert set(archive.left_out) == {"one-updates"}
    assert "one-updates" in archive.left_out["one-updates"]
    assert set(archive.pockets) == {"one", "one-security"}
    assert "one-updates" not in archive.binary_sources()
    assert "one-updates" in archive.image_sources(), "the board may have it"
    assert archive.source("linux-source", binary=True).version == "5.15-1"
    assert archive.known, "until an update"
    assert Archive(archive.root, archive.distribution, ARMHF).left_out == archive.left_out
    repository.pocket("one-updates")
    ArchiveFetcher(archive).update()
    assert archive.left_out == {}
    assert set(archive.pockets) == set(SUITES)
    assert archive.source("linux-source", binary=True).version == "5.16-1"


def test_a_later_pocket_that_is_broken_is_an_error_if_all_are_wanted(
    archive: Archive, repository: Repository
) -> None:
    ArchiveFetcher(archive).update(whole=True)
    before = record(archive)
    spoil_index(repository, "one-security")
    with pytest.raises(
        PocketUnavailable, match="the packages of one-security are unavailable"
    ) as caught:
        ArchiveFetcher(archive).update(whole=True)
    assert caught.value.details[0].startswith("one-security: Failed to fetch")
    assert record(archive) == before, "the old ones stay"


NOW = int(time.time())


@pytest.mark.parametrize(
    ("valid", "days", "old"),
    [(5, 4, False), (5, 6, True), (None, 29, False), (None, 31, True), (90, 31, False)],
)
def test_indexes_grow_old(
    archive: Archive,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    valid: int | None,
    days: int,
    *,
    old: bool,
) -> None:
    """Release files with and without a date of expiry."""
    until = None if valid is None else NOW + valid * DAY
    repository.pocket("one-security", until=until)
    for suite in SUITES[:2]:
        repository.pocket(suite, until=NOW + 1000 * DAY)
    ArchiveFetcher(archive).update()
    assert archive.outdated == {}
    monkeypatch.setattr("builder.apt.archive.time", lambda: NOW + days * DAY)
    assert [*archive.outdated] == (["one-security"] if old else [])
    if until and old:
        assert archive.outdated["one-security"] == str(
            datetime.fromtimestamp(until, timezone.utc).date()
        )


def test_of_indexes_without_a_note_the_time_of_the_record_counts(
    archive: Archive, repository: Repository
) -> None:
    ArchiveFetcher(archive).update()
    path = archive.root / "release.json"
    noted = record(archive)
    del noted["fetched"]
    path.write_text(json.dumps(noted))
    again = Archive(archive.root, archive.distribution, ARMHF)
    assert again.outdated == {}
    os.utime(path, (NOW - 31 * DAY, NOW - 31 * DAY))
    assert set(again.outdated) == set(SUITES)


def test_a_later_pocket_signed_by_a_stranger_stops_everything(
    strict_archive: Archive, repository: Repository, keys: tuple[Key, Key]
) -> None:
    repository.pocket("one-security", key=keys[1])
    with pytest.raises(ArchiveUnavailable):
        ArchiveFetcher(strict_archive).update()
    assert not strict_archive.known


def test_a_pocket_that_is_not_wanted_is_not_used(archive: Archive, repository: Repository) -> None:
    repository.package("linux-source", "5.16-1")
    repository.pocket("one-updates")
    place, named = archive.root, archive.distribution
    without = Archive(place, named, ARMHF, without={"one-updates": "it is broken"})
    ArchiveFetcher(without).update()
    assert without.known
    assert set(without.pockets) == {"one", "one-security"}
    assert without.left_out == {"one-updates": "it is broken"}
    assert without.versions(["linux-source"]) == {"linux-source": "5.15-1"}
    assert not Archive(place, named, ARMHF).known, "with all pockets"
    spoil_index(repository, "one-security")
    ArchiveFetcher(without).update()
    assert set(without.pockets) == {"one"}
    assert set(without.left_out) == {"one-updates", "one-security"}
    again = Archive(place, named, ARMHF, without={"one-updates": "for another reason"})
    assert again.known, "until an update"
