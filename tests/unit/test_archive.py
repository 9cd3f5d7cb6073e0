# SPDX-License-Identifier: MIT
"""Archives: a small one, made and signed here, read by the real apt."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from builder.archive.archive import Archive, ArchiveUnavailable
from builder.archive.choice import choose
from builder.archive.mirrors import keyring, mirror, public_mirror
from builder.errors import HostError, UserError
from builder.report.events import Event, Note
from builder.spec.models import Architecture, Distribution
from builder.spec.resolve import NamedDistribution
from builder.steps.sources import sha256
from builder.store.store import Store

ARMHF = Architecture.ARMHF
DAY = 24 * 3600
EPOCH = 1_700_000_000
TOOLS = ("gpg", "gpgconf", "apt-get", "apt-cache", "dpkg-deb")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {MISSING}")


@dataclass(frozen=True)
class Key:
    """A throw-away key: it signs release files, and `public` is its keyring."""

    home: Path
    public: Path

    def sign(self, release: Path, signed: Path) -> None:
        self.gpg("--clearsign", "--output", str(signed), str(release))

    def gpg(self, *arguments: str) -> None:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--quiet"]
        subprocess.run([*command, *arguments], check=True, capture_output=True)


def new_key(home: Path) -> Key:
    home.chmod(0o700)
    key = Key(home, home / "public.gpg")
    quick = ("--passphrase", "", "--quick-generate-key", "Test <test@invalid>", "ed25519", "sign")
    key.gpg(*quick)
    key.gpg("--output", str(key.public), "--export")
    return key


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Key, Key]]:
    pair = (new_key(tmp_path_factory.mktemp("k")), new_key(tmp_path_factory.mktemp("k")))
    yield pair
    for key in pair:
        subprocess.run(["gpgconf", "--homedir", str(key.home), "--kill", "all"], check=True)


@dataclass
class Repository:
    """An archive in the layout of Debian's, with as much in it as the builder looks at."""

    root: Path
    key: Key
    packages: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"file://{self.root}"

    def package(self, name: str, version: str) -> Path:
        """Add a binary package to the next pockets; return its .deb."""
        tree = self.root / "work"
        (tree / "DEBIAN").mkdir(parents=True)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
        control += "Maintainer: Test <test@invalid>\nDescription: test\n"
        (tree / "DEBIAN/control").write_text(control)
        path = self.root / f"pool/{name}_{version}_all.deb"
        path.parent.mkdir(exist_ok=True)
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(path)]
        subprocess.run(command, check=True, capture_output=True)
        shutil.rmtree(tree)
        self.packages.append(
            f"{control}Filename: pool/{path.name}\nSize: {path.stat().st_size}\n"
            f"SHA256: {sha256(path)}\n"
        )
        return path

    def source(self, name: str, version: str) -> list[Path]:
        """Add a source package to the next pockets; return its files."""
        folder = self.root / "pool"
        folder.mkdir(exist_ok=True)
        files = [folder / f"{name}_{version}{end}" for end in (".dsc", ".tar.gz")]
        for path in files:
            path.write_text(f"{path.name}\n")

        def sums(algorithm: str) -> str:
            return "".join(
                f" {hashlib.new(algorithm, path.read_bytes()).hexdigest()} "
                f"{path.stat().st_size} {path.name}\n"
                for path in files
            )

        self.sources.append(
            f"Package: {name}\nBinary: {name}\nVersion: {version}\nFormat: 3.0 (native)\n"
            f"Maintainer: Test <test@invalid>\nArchitecture: any\nDirectory: pool\n"
            f"Files:\n{sums('md5')}Checksums-Sha256:\n{sums('sha256')}"
        )
        return files

    def pocket(self, suite: str, *, epoch: int = EPOCH, key: Key | None = None) -> Path:
        """Write and sign the indexes of a suite; return its directory."""
        folder = self.root / "dists" / suite
        shutil.rmtree(folder, ignore_errors=True)
        indexes = {"main/binary-armhf/Packages": self.packages, "main/source/Sources": self.sources}
        lines = []
        for name, paragraphs in indexes.items():
            path = folder / name
            path.parent.mkdir(parents=True)
            path.write_text("\n".join(paragraphs))
            lines.append(f" {sha256(path)} {path.stat().st_size} {name}\n")
        date = format_datetime(datetime.fromtimestamp(epoch, timezone.utc), usegmt=True)
        (folder / "Release").write_text(
            f"Origin: Test\nSuite: {suite}\nCodename: {suite}\nDate: {date}\n"
            f"Architectures: armhf\nComponents: main\nSHA256:\n{''.join(lines)}"
        )
        (key or self.key).sign(folder / "Release", folder / "InRelease")
        (folder / "Release").unlink()
        return folder


SUITES = ("one", "one-updates", "one-security")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, keys: tuple[Key, Key]) -> Repository:
    """An archive with three pockets, and a kernel and U-Boot in the first; not to be changed."""
    root = tmp_path_factory.mktemp("mirror_of")  # apt escapes an underscore in names of lists
    made = Repository(root, keys[0])
    made.package("linux-source", "5.15-1")
    made.source("u-boot", "2022.01-1")
    for age, suite in enumerate(reversed(SUITES)):
        made.pocket(suite, epoch=EPOCH - age * DAY)
    return made


@pytest.fixture
def repository(original: Repository, tmp_path: Path) -> Repository:
    """A copy of the archive, to be spoilt."""
    root = tmp_path / "mirror_of"
    shutil.copytree(original.root, root)
    return Repository(root, original.key, list(original.packages), list(original.sources))


def distribution(url: str, key: Key, *, name: str = "one", **changes: object) -> NamedDistribution:
    values = {
        "summary": name,
        "family": "ubuntu",
        "suite": "one",
        "version": "1",
        "components": ["main"],
        "pockets": [{"suite": suite} for suite in SUITES[:2]]
        + [{"suite": SUITES[2], "archive": "security"}],
        "mirrors": {"main": url, "security": url},
        "keyring": str(key.public),
        "keyring-package": "test-keyring",
        "python": "3.10",
        "architectures": ["armhf"],
        "sources": {"linux": "linux-source", "u-boot": "u-boot"},
    }
    model = Distribution.model_validate({**values, **changes})
    return NamedDistribution(name=name, model=model, mirrors={})


@pytest.fixture
def archive(repository: Repository, tmp_path: Path) -> Archive:
    return Archive(tmp_path / "one-armhf", distribution(repository.url, repository.key), ARMHF)


@pytest.fixture(scope="module")
def fetched(original: Repository, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The archive's indexes, fetched; not to be changed."""
    root = tmp_path_factory.mktemp("fetched") / "one-armhf"
    archive = Archive(root, distribution(original.url, original.key), ARMHF)
    assert not archive.known
    archive.update()
    return archive


def record(archive: Archive) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((archive.root / "release.json").read_text())
    return loaded


def in_release(repository: Repository, suite: str) -> Path:
    return repository.root / f"dists/{suite}/InRelease"


# One archive


def test_an_archive_is_known_once_it_was_fetched(fetched: Archive) -> None:
    assert fetched.known
    assert Archive(fetched.root, fetched.distribution, ARMHF).known
    assert not fetched.root.with_name("one-armhf.new").exists()


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
    archive.update()
    assert archive.source("linux-source", binary=True).version == "5.15-10"
    assert archive.source("u-boot", binary=False).version == "2022.01-10"


def test_a_package_that_is_not_there_is_named(archive: Archive, repository: Repository) -> None:
    repository.sources.clear()
    for suite in SUITES:
        repository.pocket(suite)
    archive.update()
    with pytest.raises(ArchiveUnavailable, match=r"^one has no source package u-boot$"):
        archive.source("u-boot", binary=False)


def test_downloads_are_those_of_the_index(fetched: Archive, tmp_path: Path) -> None:
    for name, binary in {"linux-source": True, "u-boot": False}.items():
        package = fetched.source(name, binary=binary)
        command = fetched.download_command(package)
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        for file in package.files:
            assert sha256(tmp_path / file.name) == file.sha256


def test_a_download_that_was_tampered_with_is_refused(
    archive: Archive, repository: Repository, tmp_path: Path
) -> None:
    archive.update()
    package = archive.source("linux-source", binary=True)
    path = repository.root / "pool" / package.files[0].name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    folder = tmp_path / "downloads"
    folder.mkdir()
    done = subprocess.run(
        archive.download_command(package), cwd=folder, check=False, capture_output=True
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
    archive.update()
    assert archive.image_sources() == (
        "deb http://far.invalid one main\n"
        "deb http://far.invalid one-updates main\n"
        "deb http://sec.invalid one-security main\n"
    )
    assert "invalid" not in archive.binary_sources()


@pytest.mark.parametrize("spoil", ["wrong key", "no signature", "changed", "gone"])
def test_what_is_not_signed_by_the_keyring_is_refused(
    archive: Archive, repository: Repository, keys: tuple[Key, Key], spoil: str
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
        archive.update()
    assert any("one" in line and line.startswith("E:") for line in caught.value.details)
    assert not archive.known
    assert not archive.root.with_name("one-armhf.new").exists()


def test_a_failed_update_leaves_the_old_indexes(archive: Archive, repository: Repository) -> None:
    archive.update()
    before = record(archive)
    (repository.root / "dists/one/main/binary-armhf/Packages").write_text("")
    with pytest.raises(ArchiveUnavailable):
        archive.update()
    assert archive.known
    assert record(archive) == before
    assert archive.source("linux-source", binary=True).version == "5.15-1"


def test_an_update_sees_what_is_new(archive: Archive, repository: Repository) -> None:
    archive.update()
    before = dict(archive.pockets)
    repository.package("linux-source", "5.16-1")
    repository.pocket("one", epoch=EPOCH + DAY)
    assert archive.source("linux-source", binary=True).version == "5.15-1", "not before"
    archive.update()
    assert archive.source("linux-source", binary=True).version == "5.16-1"
    assert archive.epoch == EPOCH + DAY
    changed = {suite for suite in SUITES if archive.pockets[suite] != before[suite]}
    assert changed == {"one"}


def spoil_index(repository: Repository, suite: str) -> None:
    """Make a pocket as one looks while its mirror is being updated."""
    path = repository.root / f"dists/{suite}/main/binary-armhf/Packages"
    path.write_text(path.read_text() + "\n")


def test_a_later_pocket_that_is_broken_is_left_out_with_the_reason(
    archive: Archive, repository: Repository
) -> None:
    repository.package("linux-source", "5.16-1")
    repository.pocket("one-updates")
    spoil_index(repository, "one-updates")
    archive.update()
    assert set(archive.left_out) == {"one-updates"}
    assert "one-updates" in archive.left_out["one-updates"]
    assert set(archive.pockets) == {"one", "one-security"}
    assert "one-updates" not in archive.binary_sources()
    assert "one-updates" in archive.image_sources(), "the board may have it"
    assert archive.source("linux-source", binary=True).version == "5.15-1"
    assert archive.known, "until an update"
    assert Archive(archive.root, archive.distribution, ARMHF).left_out == archive.left_out
    repository.pocket("one-updates")
    archive.update()
    assert archive.left_out == {}
    assert set(archive.pockets) == set(SUITES)
    assert archive.source("linux-source", binary=True).version == "5.16-1"


def test_a_later_pocket_signed_by_a_stranger_stops_everything(
    archive: Archive, repository: Repository, keys: tuple[Key, Key]
) -> None:
    repository.pocket("one-security", key=keys[1])
    with pytest.raises(ArchiveUnavailable):
        archive.update()
    assert not archive.known


def test_a_missing_keyring_names_its_package(fetched: Archive) -> None:
    model = fetched.distribution.model.model_copy(update={"keyring": "none.gpg"})
    named = NamedDistribution(name="one", model=model, mirrors={})
    with pytest.raises(HostError, match=r"^one: the archive's keyring none\.gpg is not") as caught:
        keyring(named)
    assert caught.value.hint == "apt-get install test-keyring"


@pytest.mark.parametrize(
    ("mirrors", "own", "used", "public"),
    [
        ({"main": "http://a.invalid/x/"}, {}, "http://a.invalid/x", "http://a.invalid/x"),
        (
            {"main": "http://a.invalid"},
            {"main": "http://b.invalid/"},
            "http://b.invalid",
            "http://a.invalid",
        ),
        (
            {"main": "http://a.invalid"},
            {"security": "http://b.invalid"},
            "http://a.invalid",
            "http://a.invalid",
        ),
    ],
)
def test_the_users_mirror_wins_on_this_machine_and_not_in_the_image(
    fetched: Archive, mirrors: dict[str, str], own: dict[str, str], used: str, public: str
) -> None:
    model = fetched.distribution.model.model_copy(update={"mirrors": mirrors})
    named = NamedDistribution(name="one", model=model, mirrors=own)
    assert mirror(named, model.pockets[0]) == used
    assert public_mirror(named, model.pockets[0]) == public


# The choice


class Choosing:
    """Chooses between distributions and notes what is said."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.notes: list[Note] = []

    def listen(self, event: Event) -> None:
        assert isinstance(event, Note)
        self.notes.append(event)

    def __call__(
        self, *distributions: NamedDistribution, update: bool = False, offline: bool = False
    ) -> str:
        self.notes.clear()
        chosen = choose(
            distributions,
            ARMHF,
            self.store,
            listener=self.listen,
            update=update,
            offline=offline,
        )
        assert chosen.known
        return chosen.distribution.name

    @property
    def said(self) -> str:
        return "\n".join(note.text for note in self.notes)

    @property
    def loudly(self) -> str:
        return "\n".join(note.text for note in self.notes if note.loud)


@pytest.fixture
def choosing(store: Store) -> Choosing:
    return Choosing(store)


@pytest.fixture
def good(repository: Repository) -> NamedDistribution:
    return distribution(repository.url, repository.key, name="good")


@pytest.fixture
def bad(repository: Repository) -> NamedDistribution:
    return distribution(f"{repository.url}/none", repository.key, name="bad")


def test_the_first_that_answers_is_taken_and_the_others_named(
    choosing: Choosing, good: NamedDistribution, bad: NamedDistribution
) -> None:
    assert choosing(bad, good) == "good"
    assert "bad was not taken: " in choosing.loudly
    assert "distribution: good" in choosing.loudly
    assert "  Err:" in choosing.said, "apt's own words"


def test_the_choice_stays_until_an_update(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    late = distribution(f"{repository.url}/late", repository.key, name="late")
    assert choosing(late, good) == "good"
    shutil.copytree(repository.root, repository.root.parent / "copy")
    (repository.root.parent / "copy").rename(repository.root / "late")
    assert choosing(late, good) == "good"
    assert "late was not taken" in choosing.said
    assert "(--update asks again)" in choosing.said
    assert not choosing.loudly
    assert choosing(late, good, update=True) == "late"
    assert choosing(late, good) == "late"


def test_another_list_of_distributions_is_another_choice(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    other = distribution(repository.url, repository.key, name="other")
    assert choosing(good, other) == "good"
    assert choosing(other, good) == "other"
    assert choosing(other) == "other", "pinned"
    assert choosing(good, other) == "good"


def test_offline_takes_what_was_fetched_before(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    with pytest.raises(UserError, match=r"^--offline, but the package indexes have not been"):
        choosing(good, offline=True)
    assert choosing(good) == "good"
    shutil.rmtree(repository.root)
    assert choosing(good, offline=True) == "good"


def test_if_none_answers_the_reasons_are_given(
    choosing: Choosing, bad: NamedDistribution, repository: Repository
) -> None:
    worse = distribution(f"{repository.url}/nowhere", repository.key, name="worse")
    with pytest.raises(UserError, match=r"^no distribution's archive can be used$") as caught:
        choosing(bad, worse)
    assert [line.split(":")[0] for line in caught.value.details] == [
        "bad was not taken",
        "worse was not taken",
    ]
    assert caught.value.hint


def test_pockets_that_were_left_out_are_said_loudly_every_time(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    spoil_index(repository, "one-security")
    for _ in range(2):
        assert choosing(good) == "good"
        assert "WITHOUT the packages of one-security: " in choosing.loudly


def test_a_distribution_without_a_known_mirror_is_passed_over(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    mirrors = {"main": "host", "security": "host"}
    lost = distribution(repository.url, repository.key, name="lost", mirrors=mirrors)
    assert choosing(lost, good) == "good"


class Refusing(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(403, "Forbidden")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_mirror_that_refuses_is_found_out_without_apts_patience(
    choosing: Choosing,
    good: NamedDistribution,
    refusing: str,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    no = distribution(refusing, repository.key, name="no")
    silent = distribution("http://127.0.0.1:9", repository.key, name="silent")
    assert choosing(no, silent, good) == "good"
    assert f"no was not taken: {refusing} answers 403 Forbidden" in choosing.loudly
    assert "silent was not taken: http://127.0.0.1:9 does not answer (" in choosing.loudly
