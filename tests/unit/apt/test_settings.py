# SPDX-License-Identifier: MIT
"""The host's apt settings: used for the network, ignored for verification."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.apt.archive import Archive, ArchiveUnavailable
from builder.apt.archive_fetcher import ArchiveFetcher
from builder.apt.settings import VERIFIED, as_arguments, host_options
from builder.sandbox.process import clean_environment
from tests.fixtures.archive import ARMHF, Key, Repository, distribution, needs_tools

pytestmark = needs_tools

CARELESS = "".join(line.replace('"false"', '"true"') + "\n" for line in VERIFIED)


@pytest.fixture
def careless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose apt does not verify anything."""
    settings = tmp_path / "careless.conf"
    settings.write_text(CARELESS)
    name = "builder.apt.archive.clean_environment"
    monkeypatch.setattr(
        name, lambda extra: {**clean_environment(extra), "APT_CONFIG": str(settings)}
    )
    return settings


def unsigned(repository: Repository) -> None:
    path = repository.root / "dists/one/InRelease"
    path.with_name("Release").write_text(signed_text(path))
    path.unlink()


def weakly_hashed(repository: Repository) -> None:
    """List only hashes for which anybody can create a file."""
    path = repository.root / "dists/one/InRelease"
    head, _, listed = signed_text(path).partition("SHA256:\n")
    names = [line.split()[1:] for line in listed.splitlines()]
    sums = [
        f" {hashlib.md5((path.parent / name).read_bytes()).hexdigest()} {size} {name}\n"  # noqa: S324
        for size, name in names
    ]
    release = path.with_name("Release")
    release.write_text(f"{head}MD5Sum:\n{''.join(sums)}")
    repository.key.sign(release, path)
    release.unlink()


def signed_text(path: Path) -> str:
    return path.read_text().split("\n\n", 1)[1].split("-----BEGIN")[0]


@pytest.mark.parametrize("spoil", [unsigned, weakly_hashed, None])
def test_a_machine_that_verifies_nothing_does_not_count(
    careless: Path,
    repository: Repository,
    keys: tuple[Key, Key],
    tmp_path: Path,
    spoil: Callable[[Repository], None] | None,
) -> None:
    if spoil:
        spoil(repository)
    else:
        repository.pocket("one", key=keys[1])
    named = distribution(repository.url, repository.key.public)
    archive = Archive(tmp_path / "one-armhf", named, ARMHF)
    with pytest.raises(ArchiveUnavailable, match=r"^one: apt-get update failed$"):
        ArchiveFetcher(archive).update()
    assert not archive.known


def test_an_archive_that_is_signed_is_taken_there_too(
    careless: Path, repository: Repository, tmp_path: Path
) -> None:
    named = distribution(repository.url, repository.key.public)
    archive = Archive(tmp_path / "one-armhf", named, ARMHF)
    ArchiveFetcher(archive).update()
    dumped = subprocess.run(
        ["apt-config", "-c", str(archive.root / "apt.conf"), "dump"],
        env=clean_environment({"APT_CONFIG": str(careless)}),
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert {*VERIFIED} <= {*dumped}
    assert not [line for line in dumped if "AllowUnauthenticated" in line and "true" in line]


def test_lines_become_arguments() -> None:
    words = as_arguments(VERIFIED)
    assert words[:2] == ["-o", "Acquire::AllowInsecureRepositories=false"]
    assert len(words) == 2 * len(VERIFIED)
    dumped = subprocess.run(
        ["apt-config", *words, "dump"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert {*VERIFIED} <= {*dumped}


def test_the_hosts_options_for_downloads_are_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "apt.conf"
    settings.write_text(CARELESS + 'Acquire::http::Proxy "http://proxy.invalid:3142";\n')
    monkeypatch.setenv("APT_CONFIG", str(settings))
    found = host_options()
    assert 'Acquire::http::Proxy "http://proxy.invalid:3142";' in found
    assert not [line for line in found if "Allow" in line]
