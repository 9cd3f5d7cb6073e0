# SPDX-License-Identifier: MIT
"""Selection of the suites for QEMU."""

from __future__ import annotations

import pytest

from builder.apt.archive import Archive, ArchiveUnavailable
from builder.boot_test.emulator_archive import emulator_archive
from builder.boot_test.qemu_release import QemuRelease
from builder.report.events import Event, Note
from builder.spec.resolve import NamedDistribution
from builder.store.store import Store
from tests.fixtures.archive import Repository, damage_index, distribution, needs_tools

pytestmark = [needs_tools, pytest.mark.usefixtures("quick_signatures")]


def source(*suites: list[str], version: str = "11.0") -> QemuRelease:
    return QemuRelease.model_validate(
        {
            "version": version,
            "package": "qemu",
            "programs": ["qemu"],
            "from": [{"distribution": "one", "suites": each} for each in suites],
        }
    )


@pytest.fixture
def mirror(repository: Repository) -> Repository:
    """An archive with a newer QEMU in its backports."""
    repository.package("qemu", "1:10.0.2+ds-2")
    repository.pocket("one")
    repository.packages.clear()
    repository.package("qemu", "1:11.1.3+ds-1~bpo13+1")
    folder = repository.pocket("one-backports")
    # As Debian marks them: they are not taken unless asked for.
    release = folder / "Release"
    text = (folder / "InRelease").read_text().split("\n\n", 1)[1].split("-----BEGIN")[0]
    release.write_text(f"NotAutomatic: yes\nButAutomaticUpgrades: yes\n{text}")
    (folder / "InRelease").unlink()
    repository.key.sign(release, folder / "InRelease")
    release.unlink()
    return repository


class Asking:
    """Selector of an archive for QEMU."""

    def __init__(self, store: Store, repository: Repository) -> None:
        self.store = store
        self.known = distribution(repository.url, repository.key.public)
        self.notes: list[Note] = []

    def listen(self, event: Event) -> None:
        assert isinstance(event, Note)
        self.notes.append(event)

    def named(self, name: str) -> NamedDistribution:
        assert name == "one"
        return self.known

    def __call__(
        self, wanted: QemuRelease, *, offline: bool = False, update: bool = False
    ) -> Archive:
        return emulator_archive(
            wanted,
            self.store,
            named=self.named,
            listener=self.listen,
            offline=offline,
            update=update,
        )


@pytest.fixture
def ask(store: Store, mirror: Repository) -> Asking:
    return Asking(store, mirror)


def test_a_backport_goes_before_what_it_stands_beside(ask: Asking) -> None:
    archive = ask(source(["one-backports", "one"]))
    assert archive.versions(["qemu"]) == {"qemu": "1:11.1.3+ds-1~bpo13+1"}
    assert archive.preferences() == ['APT::Default-Release "one-backports";']
    assert sorted(archive.pockets) == ["one", "one-backports"]
    assert "deb-src" not in archive.sources_list().read_text()


def test_suites_with_an_older_one_are_passed_over(ask: Asking) -> None:
    archive = ask(source(["none"], ["one"], ["one-backports", "one"]))
    assert archive.distribution.name == "ubuntu-one-backports"
    with pytest.raises(
        ArchiveUnavailable, match=r"QEMU 11\.2 or newer is in none of the archives"
    ) as caught:
        ask(source(["one"], ["one-backports", "one"], ["none"], version="11.2"))
    older, backport, none = caught.value.details
    assert older == "one: its qemu is 1:10.0.2+ds-2"
    assert backport == "one-backports: its qemu is 1:11.1.3+ds-1~bpo13+1"
    assert none.startswith("none: ubuntu-none: apt-get update failed")


def test_what_was_found_stays_until_it_is_asked_for_anew(ask: Asking, mirror: Repository) -> None:
    wanted = source(["one-backports", "one"])
    with pytest.raises(ArchiveUnavailable) as caught:
        ask(wanted, offline=True)
    assert caught.value.details == ("one-backports: --offline, and they have not been fetched yet",)
    before = dict(ask(wanted).pockets)
    mirror.package("qemu", "1:12.0.0+ds-1")
    mirror.pocket("one-backports")
    assert dict(ask(wanted, offline=True).pockets) == before
    assert ask(wanted, update=True).versions(["qemu"]) == {"qemu": "1:12.0.0+ds-1"}


def test_a_suite_that_it_depends_on_must_be_there(ask: Asking) -> None:
    with pytest.raises(ArchiveUnavailable) as caught:
        ask(source(["one-backports", "none"]))
    assert caught.value.details[0].startswith("one-backports: ")


def test_damaged_indexes_are_fetched_anew(ask: Asking) -> None:
    wanted = source(["one-backports", "one"])
    damage_index(ask(wanted), "one-backports")
    with pytest.raises(ArchiveUnavailable) as caught:
        ask(wanted, offline=True)
    assert "the package indexes in the store are damaged" in caught.value.details[0]
    assert not ask.notes
    archive = ask(wanted)
    assert archive.versions(["qemu"]) == {"qemu": "1:11.1.3+ds-1~bpo13+1"}
    archive.check()
    (note,) = ask.notes
    assert note.text.endswith("; fetching all indexes again")
