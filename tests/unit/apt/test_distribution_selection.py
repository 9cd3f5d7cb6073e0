# SPDX-License-Identifier: MIT
"""Selection of the distribution."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from builder.apt.archive import Archive, ArchiveUnavailable, PocketUnavailable
from builder.apt.archive_fetcher import ArchiveFetcher
from builder.apt.distribution_selection import OutdatedIndexes, native_archive, select_distribution
from builder.apt.verification import DamagedIndexes
from builder.errors import UserError
from builder.report.events import Event, Note
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution
from builder.store.store import Store
from tests.fixtures.archive import (
    AMD64,
    ARM64,
    ARMHF,
    DAY,
    EPOCH,
    SUITES,
    QuietHandler,
    Repository,
    copy_of,
    damage_index,
    distribution,
    needs_tools,
    serving,
    spoil_index,
)

pytestmark = [needs_tools, pytest.mark.usefixtures("quick_signatures")]


class Choosing:
    """Selector of distributions that records all notes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.notes: list[Note] = []

    def listen(self, event: Event) -> None:
        assert isinstance(event, Note)
        self.notes.append(event)

    def __call__(
        self,
        *distributions: NamedDistribution,
        update: bool = False,
        offline: bool = False,
        strict: bool = False,
    ) -> str:
        self.notes.clear()
        chosen = select_distribution(
            distributions,
            ARMHF,
            self.store,
            listener=self.listen,
            update=update,
            offline=offline,
            strict=strict,
        )
        assert chosen.known
        return chosen.distribution.name

    def native(
        self, distribution: NamedDistribution, *, update: bool = False, offline: bool = False
    ) -> Archive | None:
        """Return the archive for this machine's architecture, for the selected distribution."""
        self.notes.clear()
        target = Archive(self.store.root / "archives/good-armhf", distribution, ARMHF)
        return native_archive(
            target, self.store, listener=self.listen, update=update, offline=offline
        )

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
    return distribution(repository.url, repository.key.public, name="good")


@pytest.fixture
def bad(repository: Repository) -> NamedDistribution:
    return distribution(f"{repository.url}/none", repository.key.public, name="bad")


def test_the_first_that_answers_is_taken_and_the_others_named(
    choosing: Choosing, good: NamedDistribution, bad: NamedDistribution
) -> None:
    assert choosing(bad, good) == "good"
    assert "bad was skipped: " in choosing.loudly
    assert "distribution: good" in choosing.loudly
    assert "  Err:" in choosing.said, "apt's own words"


def test_the_choice_stays_until_an_update(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    late = distribution(f"{repository.url}/late", repository.key.public, name="late")
    assert choosing(late, good) == "good"
    shutil.copytree(repository.root, repository.root.parent / "copy")
    (repository.root.parent / "copy").rename(repository.root / "late")
    assert choosing(late, good) == "good"
    assert "late was skipped" in choosing.said
    assert "(--update selects again)" in choosing.said
    assert not choosing.loudly
    assert choosing(late, good, update=True) == "late"
    assert choosing(late, good) == "late"


def test_another_list_of_distributions_is_another_choice(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    other = distribution(repository.url, repository.key.public, name="other")
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
    worse = distribution(f"{repository.url}/nowhere", repository.key.public, name="worse")
    with pytest.raises(UserError, match=r"^no distribution's archive can be used$") as caught:
        choosing(bad, worse)
    assert [line.split(":")[0] for line in caught.value.details] == [
        "bad was skipped",
        "worse was skipped",
    ]
    assert caught.value.hint


def test_pockets_that_were_left_out_are_said_loudly_every_time(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    spoil_index(repository, "one-security")
    for _ in range(2):
        assert choosing(good) == "good"
        assert "WITHOUT the packages of one-security: " in choosing.loudly


@pytest.mark.parametrize("content", [b"", b"[]", b'{"distribution": "good"}', b"\xff"])
@pytest.mark.parametrize("name", ["good,other-armhf.json", "good-armhf/release.json"])
def test_a_damaged_record_is_told_and_written_anew(
    choosing: Choosing, good: NamedDistribution, repository: Repository, name: str, content: bytes
) -> None:
    other = distribution(repository.url, repository.key.public, name="other")
    choosing(good, other)
    record = choosing.store.root / "archives" / name
    before, place = json.loads(record.read_bytes()), record.resolve()
    record.write_bytes(content)
    assert choosing(good, other) == "good"
    said, chosen = choosing.loudly.splitlines()
    assert said.startswith(f"{place} cannot be ")
    assert said.endswith(" again")
    assert chosen == "distribution: good"
    after = json.loads(record.read_bytes())
    assert {**after, "fetched": None} == {**before, "fetched": None}
    choosing(good, other)
    assert not choosing.loudly


def later(choosing: Choosing) -> None:
    """Let enough time pass for another attempt to fetch unavailable pockets."""
    record = choosing.store.root / "archives/good-armhf/release.json"
    os.utime(record, (0, time.time() - 3600))


def sets(choosing: Choosing) -> Path:
    return (choosing.store.root / "archives/good-armhf").resolve()


def test_a_pocket_that_was_left_out_is_asked_for_again(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    spoil_index(repository, "one-security")
    choosing(good)
    before = sets(choosing)
    # While it cannot be had, nothing changes, whatever the other pockets have by now.
    repository.package("linux-source", "5.16-1")
    repository.pocket("one", epoch=EPOCH + DAY)
    later(choosing)
    choosing(good)
    assert sets(choosing) == before
    assert "WITHOUT the packages of one-security: " in choosing.loudly
    # Once it can be had, it is not asked for at once, nor without the network.
    repository.pocket("one-security")
    choosing(good)
    later(choosing)
    choosing(good, offline=True)
    assert sets(choosing) == before
    assert "WITHOUT" in choosing.loudly
    choosing(good)
    assert sets(choosing) != before
    assert choosing.loudly == (
        "the packages of one-security are available again: all indexes were fetched"
    )
    known = Archive(choosing.store.root / "archives/good-armhf", good, ARMHF)
    assert set(known.pockets) == set(SUITES)
    assert known.source("linux-source", binary=True).version == "5.16-1"
    choosing(good)
    assert not choosing.loudly


def test_what_can_be_had_again_is_taken_whatever_else_cannot(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    for suite in SUITES[1:]:
        spoil_index(repository, suite)
    choosing(good)
    repository.pocket("one-security")
    later(choosing)
    choosing(good)
    assert "WITHOUT the packages of one-updates: " in choosing.loudly
    assert "WITHOUT the packages of one-security: " not in choosing.loudly


def test_asking_again_in_vain_leaves_what_was_fetched(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    spoil_index(repository, "one-security")
    choosing(good)
    before = sets(choosing)
    repository.pocket("one-security")
    spoil_index(repository, "one")
    later(choosing)
    assert choosing(good) == "good"
    assert sets(choosing) == before
    assert "WITHOUT the packages of one-security: " in choosing.loudly


def test_a_distribution_without_a_known_mirror_is_passed_over(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    mirrors = {"main": "host", "security": "host"}
    lost = distribution(repository.url, repository.key.public, name="lost", mirrors=mirrors)
    assert choosing(lost, good) == "good"


# Strictly: no pocket left out, nothing out of date


def test_strictly_a_first_choice_has_all_its_pockets(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    other = copy_of(repository, repository.root.parent / "other")
    next_best = distribution(other.url, other.key.public, name="next")
    spoil_index(repository, "one-security")
    with pytest.raises(
        PocketUnavailable, match=r"^good: the packages of one-security are unavailable"
    ) as no:
        choosing(good, next_best, strict=True)
    assert no.value.exit_code == 3
    assert not (choosing.store.root / "archives/good-armhf").exists()
    repository.pocket("one-security")
    assert choosing(good, next_best, strict=True) == "good"
    assert choosing(good, next_best, strict=True, offline=True) == "good"


def test_strictly_a_choice_with_a_pocket_left_out_is_completed_at_once_or_is_an_error(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    spoil_index(repository, "one-security")
    choosing(good)
    for offline in (False, True):
        with pytest.raises(PocketUnavailable, match="one-security"):
            choosing(good, strict=True, offline=offline)
    repository.pocket("one-security")
    with pytest.raises(PocketUnavailable):
        choosing(good, strict=True, offline=True)
    choosing(good, strict=True)
    assert "are available again" in choosing.loudly


def test_strictly_an_update_that_lacks_a_pocket_leaves_the_old_indexes(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    choosing(good, strict=True)
    before = sets(choosing)
    spoil_index(repository, "one-security")
    with pytest.raises(PocketUnavailable):
        choosing(good, strict=True, update=True)
    assert sets(choosing) == before
    choosing(good, update=True)
    assert "WITHOUT the packages of one-security" in choosing.loudly


def test_indexes_that_are_out_of_date_are_said_and_strictly_an_error(
    choosing: Choosing,
    good: NamedDistribution,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository.pocket("one-security", until=int(time.time()) + 5 * DAY)
    choosing(good, strict=True)
    then = time.time() + 6 * DAY
    monkeypatch.setattr("builder.apt.archive.time", lambda: then)
    for offline in (False, True):
        choosing(good, offline=offline)
        assert "package indexes are out of date: one-security (since 20" in choosing.said
        with pytest.raises(OutdatedIndexes, match=r"^good: .*: one-security \(since 20") as no:
            choosing(good, offline=offline, strict=True)
        assert no.value.hint == "--update fetches new ones"
    repository.pocket("one-security", until=int(then) + 5 * DAY)
    choosing(good, update=True, strict=True)
    choosing(good, strict=True)
    assert "out of date" not in choosing.said


# Damaged indexes in the store


def test_damaged_indexes_are_fetched_anew_from_where_they_came(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    early = distribution(f"{repository.url}/early", repository.key.public, name="early")
    assert choosing(early, good) == "good"
    # Another one can be had by now, but the choice stays.
    shutil.copytree(repository.root, repository.root.parent / "copy")
    (repository.root.parent / "copy").rename(repository.root / "early")
    before = sets(choosing)
    damage_index(Archive(before, good, ARMHF), "one")
    assert choosing(early, good) == "good"
    assert sets(choosing) != before
    assert "good: the package indexes in the store are damaged: " in choosing.loudly
    assert choosing.loudly.endswith(
        "Packages.lz4 is not what its release file says; fetching all indexes again"
    )
    assert choosing(early, good) == "good"
    assert not choosing.loudly


def test_damaged_indexes_are_not_used_offline(choosing: Choosing, good: NamedDistribution) -> None:
    choosing(good)
    damage_index(Archive(sets(choosing), good, ARMHF), "one")
    with pytest.raises(DamagedIndexes, match="in the store are damaged"):
        choosing(good, offline=True)


def test_damaged_indexes_that_cannot_be_fetched_are_an_error(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    choosing(good)
    damage_index(Archive(sets(choosing), good, ARMHF), "one")
    (repository.root / "dists").rename(repository.root / "gone")
    with pytest.raises(ArchiveUnavailable):
        choosing(good)
    (repository.root / "gone").rename(repository.root / "dists")
    choosing(good)
    assert "fetching all indexes again" in choosing.loudly


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pockets": {}}'])
def test_a_damaged_record_is_as_good_as_none(
    choosing: Choosing, good: NamedDistribution, text: str
) -> None:
    choosing(good)
    (sets(choosing) / "release.json").write_text(text)
    with pytest.raises(UserError, match="have not been fetched yet"):
        choosing(good, offline=True)
    assert choosing(good) == "good"


class Refusing(QuietHandler):
    def do_HEAD(self) -> None:  # noqa: N802 - its name
        self.send_error(403, "Forbidden")


def test_a_mirror_that_refuses_is_found_out_without_apts_patience(
    choosing: Choosing, good: NamedDistribution, repository: Repository, no_proxies: None
) -> None:
    silent = distribution("http://127.0.0.1:9", repository.key.public, name="silent")
    with serving(Refusing) as host:
        no = distribution(f"http://{host}", repository.key.public, name="no")
        assert choosing(no, silent, good) == "good"
    assert f"no was skipped: http://{host} answers 403 Forbidden" in choosing.loudly
    assert "silent was skipped: http://127.0.0.1:9 does not answer (" in choosing.loudly


class Trickling(QuietHandler):
    over = threading.Event()

    def do_HEAD(self) -> None:  # noqa: N802 - its name
        while not self.over.wait(0.01):
            self.wfile.write(b"x")


def test_a_mirror_that_goes_on_beginning_is_not_waited_for(
    choosing: Choosing,
    good: NamedDistribution,
    repository: Repository,
    no_proxies: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("builder.apt.distribution_selection._PROBE_SECONDS", 0.1)
    with serving(Trickling) as host:
        no = distribution(f"http://{host}", repository.key.public, name="no")
        assert choosing(no, good) == "good"
        Trickling.over.set()
    assert f"http://{host} does not answer (no data within 0.1 s)" in choosing.loudly


# The archive for this machine's own architecture


@pytest.mark.usefixtures("on_amd64")
def test_the_machines_own_indexes_are_checked_too(
    choosing: Choosing, good: NamedDistribution
) -> None:
    choosing(good)
    native = choosing.native(good)
    assert native
    damage_index(native, "one")
    assert choosing.native(good, offline=True) is None
    assert "in the store are damaged" in choosing.loudly
    again = choosing.native(good)
    assert again
    again.check()
    assert "fetching all indexes again" in choosing.loudly
    assert choosing.native(good, offline=True)


@pytest.fixture
def on_amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.apt.distribution_selection.host_architecture", lambda: AMD64)


@pytest.mark.parametrize("architecture", [None, ARMHF])
def test_a_machine_like_the_target_or_unknown_has_no_archive_of_its_own(
    choosing: Choosing,
    good: NamedDistribution,
    monkeypatch: pytest.MonkeyPatch,
    architecture: Architecture | None,
) -> None:
    monkeypatch.setattr(
        "builder.apt.distribution_selection.host_architecture", lambda: architecture
    )
    choosing(good)
    assert choosing.native(good) is None
    assert not choosing.notes


@pytest.mark.usefixtures("on_amd64")
def test_the_machines_own_archive_is_recorded_until_an_update(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    choosing(good)
    native = choosing.native(good)
    assert native
    assert native.architecture == AMD64
    assert set(native.pockets) == set(SUITES)
    assert native.versions(["linux-source"]) == {"linux-source": "5.15-1"}
    assert not choosing.notes
    before = dict(native.pockets)
    repository.package("linux-source", "5.16-1")
    repository.pocket("one", epoch=EPOCH + DAY)
    for _ in range(2):
        same = choosing.native(good)
        assert same
        assert same.pockets == before
    choosing(good, update=True)
    fresh = choosing.native(good, update=True)
    assert fresh
    assert fresh.pockets != before
    assert fresh.versions(["linux-source"]) == {"linux-source": "5.16-1"}
    shutil.rmtree(repository.root)
    assert choosing.native(good, offline=True), "it is known"


@pytest.mark.usefixtures("on_amd64")
def test_the_machines_own_archive_lacks_the_pockets_that_the_targets_lacks(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    spoil_index(repository, "one-security")  # armhf's alone
    choosing(good)
    native = choosing.native(good)
    assert native
    assert set(native.pockets) == {"one", "one-updates"}
    assert native.known
    repository.pocket("one-security")
    choosing(good, update=True)
    native = choosing.native(good)
    assert native
    assert set(native.pockets) == set(SUITES), "as the target's now"


@pytest.mark.usefixtures("on_amd64")
def test_each_target_has_the_machines_own_archive_with_the_pockets_that_it_has_itself(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    spoil_index(repository, "one-security")  # armhf's alone
    choosing(good)
    targets = [Archive(choosing.store.root / "archives/good-arm64", good, ARM64)]
    ArchiveFetcher(targets[0]).update()
    targets.append(Archive(choosing.store.root / "archives/good-armhf", good, ARMHF))
    assert len(targets[0].pockets) > len(targets[1].pockets)

    def native(target: Archive, *, offline: bool = False) -> Archive:
        found = native_archive(target, choosing.store, listener=choosing.listen, offline=offline)
        assert found
        return found

    first = [native(target) for target in targets]
    assert [set(item.pockets) for item in first] == [set(item.pockets) for item in targets]
    again = [native(target, offline=True) for target in targets]
    assert [item.root for item in again] == [item.root for item in first], "nothing is fetched"


@pytest.mark.usefixtures("on_amd64", "no_proxies")
def test_without_the_machines_own_archive_all_is_emulated_which_is_said(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    choosing(good)
    assert choosing.native(good, offline=True) is None
    assert choosing.loudly == (
        "good-amd64: packages for this machine are unavailable: --offline, and they have not been "
        "fetched yet; everything is emulated, which is slow"
    )
    silent = {**good.model.mirrors, "main-amd64": "http://127.0.0.1:9"}
    lonely = distribution(repository.url, repository.key.public, name="good", mirrors=silent)
    assert choosing(lonely) == "good"
    for _ in range(2):
        assert choosing.native(lonely) is None
        assert "http://127.0.0.1:9 does not answer (" in choosing.loudly
        assert choosing.loudly.endswith("; everything is emulated, which is slow")
    assert choosing.native(good), "and asked again the next time"


@pytest.mark.usefixtures("on_amd64")
def test_an_update_that_fails_leaves_the_machines_own_archive_out(
    choosing: Choosing, good: NamedDistribution, repository: Repository
) -> None:
    choosing(good)
    before = choosing.native(good)
    assert before
    (repository.root / "dists/one/main/binary-amd64/Packages").write_text("")
    assert choosing.native(good, update=True) is None
    assert "apt-get update failed" in choosing.loudly
    same = choosing.native(good)
    assert same
    assert same.pockets == before.pockets, "what was fetched before is not lost"
