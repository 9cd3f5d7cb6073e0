# SPDX-License-Identifier: MIT
"""Selection of a board's distribution: the first whose archive answers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from builder.apt.archive import Archive, ArchiveUnavailable, PocketUnavailable
from builder.apt.archive_fetcher import ArchiveFetcher
from builder.apt.mirrors import mirror
from builder.apt.verification import DamagedIndexes
from builder.engine.host import host_architecture
from builder.errors import BuildError, HostError, UserError
from builder.network.response import Head, Response, ResponseError
from builder.report.events import Listener, Note
from builder.spec.distribution import Pocket
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution
from builder.store.files import write_atomically
from builder.store.locks import locked
from builder.store.records import Unreadable, read_record
from builder.store.store import Store

_PROBE_SECONDS = 10
_AGAIN_SECONDS = 600
"""Minimum time between two attempts to fetch an unavailable pocket."""
_AGAIN_PROBE_SECONDS = 2


class OutdatedIndexes(BuildError):
    """Package indexes in the store that are out of date."""


class _Choice(BaseModel):
    """Record of a selection: its date, and why other distributions were skipped."""

    distribution: str
    date: str
    refused: list[str]

    def write(self, path: Path) -> None:
        write_atomically(path, self.model_dump_json(), durably=True)


_CHOICES = TypeAdapter(_Choice)


def select_distribution(
    distributions: Sequence[NamedDistribution],
    architecture: Architecture,
    store: Store,
    *,
    listener: Listener,
    unusable: Callable[[NamedDistribution], str | None] = lambda _: None,
    update: bool = False,
    offline: bool = False,
    strict: bool = False,
) -> Archive:
    """Return the archive to build from.

    The selection is recorded in the store until the next `update`, so that a temporary failure of a
    mirror does not change the distribution of an image. Pockets that were left out, which may
    include security updates, are tried again; if one has become available, all indexes are fetched
    again.

    Args:
        distributions: the candidates, in order of preference.
        architecture: the board's architecture.
        store: contains the indexes and the recorded selection.
        listener: receives notes for the user.
        unusable: returns the reason for which a distribution cannot be used; None if it can.
        update: whether to ignore the recorded selection and to fetch all indexes.
        offline: whether to avoid the network.
        strict: whether all pockets and current indexes are required.

    Raises:
        PocketUnavailable: a pocket is unavailable (`strict`).
        OutdatedIndexes: the indexes are out of date (`strict`).
        UserError: no archive answers, or none has been fetched before (`offline`).
        DamagedIndexes: the indexes are damaged (`offline`).
        ArchiveUnavailable: the indexes are damaged and cannot be fetched again.
        HostError: the keyring or gpgv is missing.
    """
    names = ",".join(item.name for item in distributions)
    record = store.root / "archives" / f"{names}-{architecture.value}.json"
    with locked(store.root / "locks" / "archives.lock"):
        archives = [
            Archive(
                store.root / "archives" / f"{item.name}-{architecture.value}", item, architecture
            )
            for item in distributions
        ]
        for archive in archives:
            _say_damage(archive, listener)
        if not update:
            known = _recorded(record, archives, store, listener, offline=offline, strict=strict)
            if known and not unusable(known.distribution):
                if strict:
                    _check_strictly(known)
                return known
        if offline:
            raise UserError(
                "--offline, but the package indexes have not been fetched yet",
                hint="build once, or run `plan`, without --offline",
            )
        return _probe(record, archives, unusable, listener, strict=strict)


def native_archive(
    archive: Archive,
    store: Store,
    *,
    listener: Listener,
    update: bool = False,
    offline: bool = False,
) -> Archive | None:
    """Return the archive of the same distribution for this machine's own architecture.

    There is one per target architecture, since targets may differ in the pockets that they use.
    Returns None if this machine has the target's architecture, or if the archive is unavailable,
    of which the listener is notified.
    """
    architecture = host_architecture()
    if architecture in (None, archive.architecture):
        return None
    name = f"{archive.distribution.name}-{architecture.value}"
    native = Archive(
        store.root / "archives" / f"{name}-for-{archive.architecture.value}",
        archive.distribution,
        architecture,
        # Programs must have the same versions as the target's.
        without=archive.left_out,
    )
    with locked(store.root / "locks" / "archives.lock"):
        if not native.known:
            _say_damage(native, listener)
        try:
            if native.known and not update:
                mend(native, store, listener, offline=offline)
            else:
                fetch(native, offline=offline)
        except (ArchiveUnavailable, DamagedIndexes, HostError, UserError) as error:
            why = f"{name}: packages for this machine are unavailable: {error.message}"
            listener(Note(text=f"{why}; everything is emulated, which is slow", loud=True))
            return None
    return native


def fetch(archive: Archive, *, offline: bool, whole: bool = False) -> None:
    """Fetch an archive's indexes, after a quick check that it answers.

    Raises:
        PocketUnavailable: a pocket is unavailable (`whole`).
        ArchiveUnavailable: the archive does not answer, or `offline`.
        HostError: apt or the keyring is missing.
        UserError: no mirror is known.
    """
    _usable(archive, "--offline, and they have not been fetched yet" if offline else None)
    ArchiveFetcher(archive).update(whole=whole)


def mend(
    archive: Archive, store: Store, listener: Listener, *, offline: bool, whole: bool = False
) -> bool:
    """Fetch an archive's indexes again if the cached ones are damaged; return whether they were.

    Raises:
        DamagedIndexes: they are damaged, and `offline`.
        ArchiveUnavailable: they are damaged and cannot be fetched (with all pockets, if `whole`).
        HostError: the keyring, gpgv or apt is missing.
    """
    try:
        archive.check(store.digest)
    except DamagedIndexes as error:
        if offline:
            raise
        text = f"{archive.distribution.name}: {error.message}; fetching all indexes again"
        listener(Note(text=text, loud=True))
        fetch(archive, offline=False, whole=whole)
        return True
    return False


def _recorded(
    record: Path,
    archives: Sequence[Archive],
    store: Store,
    listener: Listener,
    *,
    offline: bool,
    strict: bool,
) -> Archive | None:
    try:
        chosen = read_record(record, _CHOICES)
    except FileNotFoundError:
        return None
    except Unreadable as error:
        listener(Note(text=f"{error}; selecting the distribution again", loud=True))
        return None
    for archive in archives:
        if archive.distribution.name == chosen.distribution and archive.known:
            mended = mend(archive, store, listener, offline=offline, whole=strict)
            if mended or (not offline and _completed(archive, listener, at_once=strict)):
                chosen = chosen.model_copy(update={"date": _today()})
                chosen.write(record)
            refused = "".join(f"; {why}" for why in chosen.refused)
            listener(
                Note(
                    text=f"distribution: {archive.distribution.name}, as of {chosen.date}"
                    f"{refused} (--update selects again)"
                )
            )
            _say_left_out(archive, listener)
            if outdated := _outdated(archive):
                text = f"package indexes are out of date: {outdated} (--update fetches new ones)"
                listener(Note(text=text))
            return archive
    return None


def _outdated(archive: Archive) -> str:
    """Return an archive's outdated indexes with their expiry dates; empty if there are none."""
    return ", ".join(f"{suite} (since {day})" for suite, day in archive.outdated.items())


def _check_strictly(archive: Archive) -> None:
    """Check that an archive has all its pockets, and that its indexes are not too old.

    Raises:
        PocketUnavailable: a pocket is missing.
        OutdatedIndexes: indexes are too old.
    """
    name = archive.distribution.name
    if archive.left_out:
        raise PocketUnavailable(name, archive.left_out)
    if outdated := _outdated(archive):
        raise OutdatedIndexes(
            f"{name}: package indexes are out of date, which --strict-archive does not allow: "
            f"{outdated}",
            hint="--update fetches new ones",
        )


def _completed(archive: Archive, listener: Listener, *, at_once: bool) -> bool:
    """Fetch an archive's indexes again if a missing pocket has become available.

    The check is cheap, and not repeated for some minutes unless `at_once`, so that an unavailable
    mirror does not delay every build.
    """
    record = archive.root / "release.json"
    recent = time.time() - record.stat().st_mtime < _AGAIN_SECONDS
    if not archive.missing or (recent and not at_once):
        return False
    os.utime(record)
    for pocket in archive.missing:
        try:
            _answers(archive, pocket, timeout=_AGAIN_PROBE_SECONDS)
            if not ArchiveFetcher(archive).is_available(pocket):
                continue
            ArchiveFetcher(archive).update()
        except (ArchiveUnavailable, HostError, UserError):
            continue
        text = f"the packages of {pocket.suite} are available again: all indexes were fetched"
        listener(Note(text=text, loud=True))
        return True
    return False


def _probe(
    record: Path,
    archives: Sequence[Archive],
    unusable: Callable[[NamedDistribution], str | None],
    listener: Listener,
    *,
    strict: bool,
) -> Archive:
    refused: list[str] = []
    for archive in archives:
        name = archive.distribution.name
        try:
            _usable(archive, unusable(archive.distribution))
            ArchiveFetcher(archive).update(whole=strict)
        except PocketUnavailable:
            raise  # the user asked for all pockets, not for another distribution
        except (ArchiveUnavailable, HostError, UserError) as error:
            refused.append(f"{name} was skipped: {error.message}")
            for detail in error.details[:3]:
                listener(Note(text=f"  {detail}"))
            listener(Note(text=f"distribution: {refused[-1]}", loud=True))
            continue
        listener(Note(text=f"distribution: {name}", loud=True))
        _say_left_out(archive, listener)
        _Choice(distribution=name, date=_today(), refused=refused).write(record)
        return archive
    raise UserError(
        "no distribution's archive can be used",
        hint="check the network, set a mirror in local.yaml, or use --distro",
        details=refused,
    )


def _today() -> str:
    return time.strftime("%Y-%m-%d")


def _say_damage(archive: Archive, listener: Listener) -> None:
    if archive.damage:
        listener(Note(text=f"{archive.damage}; fetching the indexes again", loud=True))


def _say_left_out(archive: Archive, listener: Listener) -> None:
    for suite, why in archive.left_out.items():
        listener(Note(text=f"WITHOUT the packages of {suite}: {why}", loud=True))


def _usable(archive: Archive, problem: str | None) -> None:
    """Probe the first pocket's mirror, with a shorter timeout than apt's.

    Raises:
        ArchiveUnavailable: it does not answer, or a `problem` is known.
    """
    if problem:
        raise ArchiveUnavailable(problem)
    _answers(archive, archive.distribution.model.pockets[0])


def _answers(archive: Archive, pocket: Pocket, *, timeout: float | None = None) -> None:
    """Probe a pocket's mirror for its release file, with a timeout in seconds.

    Raises:
        ArchiveUnavailable: it does not answer.
    """
    base = mirror(archive.distribution, pocket, archive.architecture)
    timeout = timeout or _PROBE_SECONDS
    if not base.startswith("http"):
        return
    answer = Response(f"{base}/dists/{pocket.suite}/InRelease", {}, silence=timeout, method="HEAD")
    try:
        head = answer.next(timeout)
    except ResponseError as trouble:
        raise ArchiveUnavailable(f"{base} does not answer ({trouble})") from trouble
    finally:
        answer.give_up()
    if not isinstance(head, Head):
        raise ArchiveUnavailable(f"{base} does not answer (no data within {timeout:g} s)")
    if head.status >= 400:
        raise ArchiveUnavailable(f"{base} answers {head.status} {head.reason}")
