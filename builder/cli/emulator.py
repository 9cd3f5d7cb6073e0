# SPDX-License-Identifier: MIT
"""QEMU for boot tests: the host's if it is new enough, else one that a step downloads."""

from __future__ import annotations

from functools import partial

from builder.apt.archive import ArchiveUnavailable
from builder.boot_test.emulator import found_qemu
from builder.boot_test.emulator_archive import emulator_archive
from builder.boot_test.emulator_step import QemuPrograms
from builder.boot_test.qemu_release import qemu_source
from builder.errors import HostError
from builder.plan.plan import Planned, make_plan
from builder.report.events import Listener, Note
from builder.spec.distributions import named_distribution
from builder.spec.reader import SpecTree
from builder.store.store import Store


def emulator_plan(
    tree: SpecTree, store: Store, listener: Listener, *, update: bool, offline: bool
) -> Planned | None:
    """Plan the step that downloads a QEMU; return None if the host's QEMU is to be used.

    The host's QEMU is used if it is new enough. It is also used, with a note, if no other one is
    available: boards boot with it, and the checks that load designs are skipped.
    """
    source = qemu_source()
    try:
        if found_qemu().new:
            return None
    except HostError:
        pass  # the downloaded QEMU does not need the host's
    try:
        archive = emulator_archive(
            source,
            store,
            named=partial(named_distribution, tree),
            listener=listener,
            update=update,
            offline=offline,
        )
    except ArchiveUnavailable as error:
        why = "".join(f"; {line}" for line in error.details)
        listener(Note(text=without_new(f"{error.message}{why}"), loud=True))
        return None
    (planned,) = make_plan([QemuPrograms(archive, source)], store)
    if offline and not planned.cached:
        listener(Note(text=without_new("--offline, and it has not been downloaded yet"), loud=True))
        return None
    return planned


def without_new(why: str) -> str:
    """Return the note about using the host's old QEMU, with the reason."""
    return f"using the host's QEMU, which cannot load bitstreams: {why}"
