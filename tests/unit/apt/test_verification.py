# SPDX-License-Identifier: MIT
"""Verification of cached package indexes and packages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.apt import archive_fetcher
from builder.apt.archive import Archive
from builder.apt.archive_fetcher import ArchiveFetcher
from builder.apt.verification import DamagedIndexes, remove_damaged
from builder.errors import HostError
from builder.spec.resolve import NamedDistribution
from builder.store.checksum import sha256
from builder.store.store import Store
from tests.fixtures.archive import (
    ARMHF,
    SUITES,
    Key,
    Repository,
    copy_of,
    damage_index,
    distribution,
    flip,
    needs_tools,
)

pytestmark = needs_tools

Spoil = Callable[[Path], None]


@pytest.fixture(scope="module", params=["packed", "plain"])
def kept(
    request: pytest.FixtureRequest, original: Repository, tmp_path_factory: pytest.TempPathFactory
) -> Archive:
    """Indexes in the store in both forms in which apt stores them; not to be changed."""
    folder = tmp_path_factory.mktemp("kept")
    repository = copy_of(original, folder / "mirror")
    archive = Archive(
        folder / "one-armhf", distribution(repository.url, repository.key.public), ARMHF
    )
    name = "_write_configuration"
    write = vars(archive_fetcher)[name]

    def and_how(archive: Archive) -> None:
        write(archive)
        with (archive.root / "apt.conf").open("a") as file:
            file.write(
                f'Acquire::GzipIndexes "{"true" if request.param == "packed" else "false"}";\n'
            )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive_fetcher, name, and_how)
        ArchiveFetcher(archive).update()
    (index,) = archive.lists.glob("*_dists_one_main_binary-armhf_Packages*")
    assert (index.suffix == ".lz4") == (request.param == "packed")
    shutil.rmtree(repository.root)
    return archive


@pytest.fixture
def archive(kept: Archive, tmp_path: Path) -> Archive:
    """A copy of them that tests may damage."""
    shutil.copytree(kept.root, tmp_path / "one-armhf", symlinks=True)
    return Archive(tmp_path / "one-armhf", kept.distribution, ARMHF)


def test_what_was_fetched_is_what_was_signed(archive: Archive) -> None:
    archive.check()
    assert not [path for path in archive.lists.iterdir() if path.is_symlink()]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


@pytest.mark.parametrize(
    "name", ["one_main_binary-armhf_Packages", "one-security_main_source_Sources"]
)
@pytest.mark.parametrize("spoil", [flip, truncate, empty, Path.unlink])
def test_an_index_that_was_altered_is_found(archive: Archive, name: str, spoil: Spoil) -> None:
    (path,) = archive.lists.glob(f"*_dists_{name}*")
    spoil(path)
    with pytest.raises(DamagedIndexes, match=rf"the store are damaged: .*_dists_{name}") as caught:
        archive.check()
    assert caught.value.hint == "--update fetches them again"


def test_no_more_of_an_index_is_read_than_there_is_to_be(archive: Archive) -> None:
    """apt ignores data after the end of a compressed stream, too."""
    (path,) = archive.lists.glob("*_dists_one_main_source_Sources*")
    with path.open("ab") as file:
        file.truncate(1 << 40)
    if path.suffix:
        archive.check()
    else:
        with pytest.raises(DamagedIndexes, match="Sources is not what its release file says"):
            archive.check()


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("spoil", [truncate, empty, lengthen, Path.unlink])
def test_a_release_file_that_was_altered_is_found(
    archive: Archive, suite: str, spoil: Spoil
) -> None:
    (path,) = archive.lists.glob(f"*_dists_{suite}_InRelease")
    spoil(path)
    with pytest.raises(DamagedIndexes):
        archive.check()


def note(archive: Archive, release: Path) -> None:
    """Record the current hash of the first suite's release file."""
    record = archive.root / "release.json"
    noted = json.loads(record.read_text())
    noted["pockets"]["one"] = sha256(release)
    record.write_text(json.dumps(noted))


def first_release(archive: Archive) -> Path:
    (release,) = archive.lists.glob("*_dists_one_InRelease")
    return release


def text_of(release: Path) -> str:
    return release.read_text().split("\n\n", 1)[1].split("-----BEGIN")[0]


def rehashed(archive: Archive) -> str:
    """Change an index; return a release file that matches it."""
    index = damage_index(archive, "one")
    listed = f" {sha256(index)} {index.stat().st_size} main/binary-armhf/Packages{index.suffix}\n"
    return f"{text_of(first_release(archive))}{listed}"


def test_what_nobody_signed_is_found_however_well_it_fits(archive: Archive) -> None:
    release = first_release(archive)
    text = text_of(release)
    release.write_text(release.read_text().replace(text, rehashed(archive)))
    note(archive, release)
    with pytest.raises(DamagedIndexes, match=rf"{release.name}: BAD signature from"):
        archive.check()


def test_what_a_stranger_signed_is_found(
    archive: Archive, keys: tuple[Key, Key], tmp_path: Path
) -> None:
    release, text = first_release(archive), tmp_path / "Release"
    text.write_text(rehashed(archive))
    keys[1].sign(text, release)
    note(archive, release)
    with pytest.raises(DamagedIndexes, match="Can't check signature: No public key"):
        archive.check()
    keys[0].sign(text, release)
    note(archive, release)
    again = Archive(archive.root, archive.distribution, ARMHF)
    again.check()  # by the archive's own key


@pytest.mark.parametrize("around", ["{0}{1}", "{1}{0}"])
def test_only_what_was_signed_counts(archive: Archive, around: str) -> None:
    """gpgv accepts a signed text that is surrounded by other text."""
    release = first_release(archive)
    release.write_text(around.format("Origin: Evil\n", release.read_text()))
    note(archive, release)
    with pytest.raises(DamagedIndexes, match="it is not one signed text"):
        archive.check()


def test_the_date_of_the_indexes_is_theirs(archive: Archive) -> None:
    record = archive.root / "release.json"
    noted = json.loads(record.read_text())
    noted["epoch"] += 10
    record.write_text(json.dumps(noted))
    with pytest.raises(DamagedIndexes, match=r"release\.json: its date is not"):
        archive.check()


def test_an_older_release_file_is_another_one(archive: Archive) -> None:
    """The older file has a valid signature, too."""
    (old,) = archive.lists.glob("*_dists_one-updates_InRelease")
    shutil.copyfile(old, first_release(archive))
    with pytest.raises(DamagedIndexes, match="lacks the release file of one"):
        archive.check()


def test_an_index_that_no_release_file_names_is_found(archive: Archive) -> None:
    (index,) = archive.lists.glob("*_dists_one_main_binary-armhf_Packages*")
    other = index.with_name(index.name.replace("_main_", "_evil_"))
    shutil.copyfile(index, other)
    with pytest.raises(DamagedIndexes, match=r"_evil_binary-armhf_\S+ is in no release file"):
        archive.check()


def test_other_lists_of_the_machines_apt_do_not_matter(archive: Archive) -> None:
    release = first_release(archive)
    (archive.lists / release.name.replace("InRelease", "main_Contents-armhf.lz4")).write_text("x")
    archive.check()


def test_what_has_not_changed_is_not_read_again(archive: Archive, store: Store) -> None:
    read: list[Path] = []

    def digest(path: Path, content: Callable[[Path], str]) -> str:
        read.append(path)
        return store.digest(path, content)

    archive.check(digest)
    assert len(read) == 2 * len(SUITES)
    flip(read[0])
    with pytest.raises(DamagedIndexes):
        archive.check(digest)


def test_a_keyring_may_be_in_ascii(archive: Archive, keys: tuple[Key, Key], tmp_path: Path) -> None:
    path = tmp_path / "key.asc"
    keys[0].gpg("--armor", "--output", str(path), "--export")
    model = archive.distribution.model.model_copy(update={"keyring": str(path)})
    named = NamedDistribution(name="one", model=model, mirrors={})
    Archive(archive.root, named, ARMHF).check()
    flip(first_release(archive), 200)
    with pytest.raises(DamagedIndexes):
        Archive(archive.root, named, ARMHF).check()


def test_a_signature_may_be_a_file_of_its_own(archive: Archive, keys: tuple[Key, Key]) -> None:
    release = first_release(archive)
    plain = release.with_name(release.name.replace("InRelease", "Release"))
    plain.write_text(text_of(release))
    release.unlink()
    keys[0].gpg("--detach-sign", "--output", f"{plain}.gpg", str(plain))
    note(archive, plain)
    archive.check()
    Path(f"{plain}.gpg").unlink()
    with pytest.raises(DamagedIndexes):
        archive.check()


def test_without_gpgv_it_says_what_to_install(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "builder.apt.verification.clean_environment", lambda: {"PATH": "/nonexistent"}
    )
    with pytest.raises(HostError, match="gpgv is not on this machine") as caught:
        archive.check()
    assert caught.value.hint == "apt-get install gpgv"


# Packages


@pytest.fixture
def packages(original: Repository, tmp_path: Path, quick_signatures: None) -> Archive:
    repository = copy_of(original, tmp_path / "mirror")
    repository.package("tool", "1:2~rc1-3+b1")
    repository.package("tool", "3")
    repository.package("lib+x", "1.0")
    repository.pocket("one")
    named = distribution(repository.url, repository.key.public)
    archive = Archive(tmp_path / "one-armhf", named, ARMHF)
    ArchiveFetcher(archive).update()
    return archive


def test_checksums_are_those_of_all_versions(packages: Archive, tmp_path: Path) -> None:
    pool = tmp_path / "mirror/pool"
    assert packages.checksums(["tool", "lib+x", "none", "-o", "", "--help"]) == {
        "tool_1%3a2~rc1-3+b1_all.deb": {sha256(pool / "tool_2~rc1-3+b1_all.deb")},
        "tool_3_all.deb": {sha256(pool / "tool_3_all.deb")},
        "lib+x_1.0_all.deb": {sha256(pool / "lib+x_1.0_all.deb")},
    }
    assert packages.checksums([]) == {}


def test_damaged_packages_are_removed_with_a_sentence(packages: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    for name in ("tool_3_all.deb", "lib+x_1.0_all.deb"):
        shutil.copyfile(tmp_path / "mirror/pool" / name, folder / name)
    (folder / "old_1_all.deb").write_text("of another index")
    (folder / "partial").mkdir()
    said: list[str] = []
    sums = packages.checksums(["tool", "lib+x", "old"])
    remove_damaged(folder, sums, said.append)
    assert not said
    flip(folder / "tool_3_all.deb")
    remove_damaged(folder, sums, said.append)
    assert said == ["tool_3_all.deb in the store is damaged: removed, to be downloaded again"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "lib+x_1.0_all.deb",
        "old_1_all.deb",
        "partial",
    ]
