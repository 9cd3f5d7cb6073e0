# SPDX-License-Identifier: MIT
"""Selection of the package archive with a recent QEMU for the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from builder.apt.archive import Archive, ArchiveUnavailable
from builder.apt.distribution_selection import fetch, mend
from builder.apt.verification import DamagedIndexes
from builder.boot_test.qemu_release import QemuRelease, Suites, version_in
from builder.engine.host import host_architecture
from builder.errors import HostError, UserError
from builder.report.events import Listener
from builder.spec.distribution import Pocket
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution
from builder.store.locks import locked
from builder.store.store import Store


def emulator_archive(
    source: QemuRelease,
    store: Store,
    *,
    named: Callable[[str], NamedDistribution],
    listener: Listener,
    update: bool = False,
    offline: bool = False,
) -> Archive:
    """Return the first archive whose QEMU is recent enough.

    Like the indexes for boards, its indexes stay pinned unless `update` is set. `named` reads a
    distribution by name.

    Raises:
        ArchiveUnavailable: there is none; the details give one reason per archive.
    """
    architecture = host_architecture()
    if architecture is None:
        raise ArchiveUnavailable("the host's architecture is not supported")
    refused: list[str] = []
    with locked(store.root / "locks" / "archives.lock"):
        for suites in source.origins:
            archive = _archive(suites, architecture, store, named)
            try:
                if archive.known and not update:
                    mend(archive, store, listener, offline=offline)
                else:
                    fetch(archive, offline=offline)
                _check(archive, source)
            except (ArchiveUnavailable, DamagedIndexes, HostError, UserError) as error:
                refused.append(f"{suites.suites[0]}: {error.message}")
            else:
                return archive
    raise ArchiveUnavailable(
        f"QEMU {source.version} or newer is in none of the archives", details=refused
    )


def _archive(
    suites: Suites,
    architecture: Architecture,
    store: Store,
    named: Callable[[str], NamedDistribution],
) -> Archive:
    """Return the archive of these suites alone; the first has priority."""
    known = named(suites.distribution)
    first = suites.suites[0]
    pockets = tuple(Pocket(suite=suite) for suite in suites.suites)
    distribution = replace(
        known,
        name=f"{known.model.family}-{first}",
        model=known.model.model_copy(update={"suite": first, "pockets": pockets}),
    )
    name = f"{distribution.name}-{architecture.value}-for-qemu"
    return Archive(
        store.root / "archives" / name,
        distribution,
        architecture,
        prefer=first,
        for_programs=True,
    )


def _check(archive: Archive, source: QemuRelease) -> None:
    """Check that an archive has a recent QEMU.

    Raises:
        ArchiveUnavailable: it does not.
    """
    if archive.left_out:
        raise ArchiveUnavailable("; ".join(archive.left_out.values()))
    version = archive.versions([source.package]).get(source.package)
    if version is None:
        raise ArchiveUnavailable(f"has no {source.package}")
    if version_in(version) < source.oldest:
        raise ArchiveUnavailable(f"its {source.package} is {version}")
