# SPDX-License-Identifier: MIT
"""The choice among a board's distributions: the first whose archive answers is built."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from builder.apt.archive import Archive, ArchiveUnavailable, PocketUnavailable
from builder.apt.mirrors import mirror
from builder.apt.verification import DamagedIndexes
from builder.engine.host import host_architecture
from builder.errors import BuildError, HostError, UserError
from builder.network.response import Head, Response, ResponseError
from builder.report.events import Listener, Note
from builder.spec.distribution import Pocket
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution
from builder.store.locks import locked
from builder.store.records import Unreadable, read_record
from builder.store.store import Store, write_atomically

_PROBE_SECONDS = 10
_AGAIN_SECONDS = 600
"""How long a pocket that could not be had is not asked for again."""
_AGAIN_PROBE_SECONDS = 2


class OutdatedIndexes(BuildError):
    """Package indexes in the store are older than they may be."""


class _Choice(BaseModel):
    """Record of a choice: when it was made, and why other distributions were not taken."""

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

    What was chosen is recorded in the store and stays until `update`: a mirror that comes and
    goes must not turn one distribution's image into another's. But pockets that were left out,
    as security updates may have been, are asked for again, and if they can be had, all indexes are
    fetched anew.

    `unusable` says why an image cannot be made of a distribution, whose turn is passed then. If
    `strict`, no pocket is left out, and indexes that are out of date have to be fetched anew.

    Raises:
        PocketUnavailable: `strict`, and a pocket cannot be had.
        OutdatedIndexes: `strict`, and they are out of date.
        UserError: none of them answers, or `offline` and none has been fetched before.
        DamagedIndexes: those that were are damaged, and `offline`.
        ArchiveUnavailable: they are damaged, and cannot be fetched anew.
        HostError: this machine lacks what they are checked with.
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
                hint="build once, or run `plan`, with the network",
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

    It belongs to the target's: which pockets are used may differ from one target to the other.
    None if that is the target's architecture anyway, or if it cannot be had, which is said.
    """
    architecture = host_architecture()
    if architecture in (None, archive.architecture):
        return None
    name = f"{archive.distribution.name}-{architecture.value}"
    native = Archive(
        store.root / "archives" / f"{name}-for-{archive.architecture.value}",
        archive.distribution,
        architecture,
        # Programs are to be of the same versions as the target's.
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
            why = f"{name}: this machine's own packages cannot be had: {error.message}"
            listener(Note(text=f"{why}; everything is emulated, which is slow", loud=True))
            return None
    return native


def fetch(archive: Archive, *, offline: bool, whole: bool = False) -> None:
    """Fetch an archive's indexes, after having asked whether it answers.

    Raises:
        PocketUnavailable: one of its pockets cannot be had, and `whole`.
        ArchiveUnavailable: it does not, or there is no network (`offline`).
        HostError, UserError: this machine lacks something that is needed for it.
    """
    _usable(archive, "--offline, and they have not been fetched yet" if offline else None)
    archive.update(whole=whole)


def mend(
    archive: Archive, store: Store, listener: Listener, *, offline: bool, whole: bool = False
) -> bool:
    """Fetch an archive's indexes anew if the kept ones are damaged; return whether that was so.

    Raises:
        DamagedIndexes: they are, and there is no network (`offline`).
        ArchiveUnavailable: they are, and cannot be fetched (if `whole`, with all pockets).
        HostError: this machine lacks something that is needed for it.
    """
    try:
        archive.check(store.digest)
    except DamagedIndexes as error:
        if offline:
            raise
        text = f"{archive.distribution.name}: {error.message}: all indexes are fetched anew"
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
        listener(Note(text=f"{error}; the distribution is chosen anew", loud=True))
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
                    f"{refused} (--update asks again)"
                )
            )
            _say_left_out(archive, listener)
            if outdated := _outdated(archive):
                text = f"package indexes are out of date: {outdated} (--update fetches new ones)"
                listener(Note(text=text))
            return archive
    return None


def _outdated(archive: Archive) -> str:
    """Return which indexes of an archive are out of date, and since when; nothing if none are."""
    return ", ".join(f"{suite} (since {day})" for suite, day in archive.outdated.items())


def _check_strictly(archive: Archive) -> None:
    """Make sure that an archive has all its pockets, and that its indexes are not too old.

    Raises:
        PocketUnavailable, OutdatedIndexes: it is not so.
    """
    name = archive.distribution.name
    if archive.left_out:
        raise PocketUnavailable(name, archive.left_out)
    if outdated := _outdated(archive):
        raise OutdatedIndexes(
            f"{name}: package indexes are out of date, and --strict-archive takes none that are: "
            f"{outdated}",
            hint="--update fetches new ones",
        )


def _completed(archive: Archive, listener: Listener, *, at_once: bool) -> bool:
    """Fetch an archive's indexes anew if a pocket that was left out can be had by now.

    That is found out with little, and not at every turn unless `at_once`: nobody waits long for a
    mirror that is still at it.
    """
    record = archive.root / "release.json"
    recent = time.time() - record.stat().st_mtime < _AGAIN_SECONDS
    if not archive.missing or (recent and not at_once):
        return False
    os.utime(record)
    for pocket in archive.missing:
        try:
            _answers(archive, pocket, timeout=_AGAIN_PROBE_SECONDS)
            if not archive.can_be_had(pocket):
                continue
            archive.update()
        except (ArchiveUnavailable, HostError, UserError):
            continue
        text = f"the packages of {pocket.suite} can be had again: all indexes were fetched anew"
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
            archive.update(whole=strict)
        except PocketUnavailable:
            raise  # another distribution would not be what was asked for
        except (ArchiveUnavailable, HostError, UserError) as error:
            refused.append(f"{name} was not taken: {error.message}")
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
        listener(Note(text=f"{archive.damage}; the indexes are fetched anew", loud=True))


def _say_left_out(archive: Archive, listener: Listener) -> None:
    for suite, why in archive.left_out.items():
        listener(Note(text=f"WITHOUT the packages of {suite}: {why}", loud=True))


def _usable(archive: Archive, problem: str | None) -> None:
    """Ask the first pocket's mirror, quickly, before apt tries with all its patience.

    Raises:
        ArchiveUnavailable: it does not answer, or there is a `problem` anyway.
    """
    if problem:
        raise ArchiveUnavailable(problem)
    _answers(archive, archive.distribution.model.pockets[0])


def _answers(archive: Archive, pocket: Pocket, *, timeout: float | None = None) -> None:
    """Ask a pocket's mirror for its release file, for so many seconds at most.

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
        raise ArchiveUnavailable(f"{base} does not answer (nothing came in {timeout:g} s)")
    if head.status >= 400:
        raise ArchiveUnavailable(f"{base} answers {head.status} {head.reason}")
