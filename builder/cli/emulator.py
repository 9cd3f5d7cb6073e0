# SPDX-License-Identifier: MIT
"""The QEMU for a test: this machine's if that is new enough, else a step that gets one."""

from __future__ import annotations

import argparse
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
    arguments: argparse.Namespace, tree: SpecTree, store: Store, listener: Listener
) -> Planned | None:
    """Plan the step that gets a QEMU; None if this machine's own is to be used.

    That is so if it is new enough, and also if no other can be had, which is said: boards boot all
    the same then, and the checks that need more are skipped.
    """
    source = qemu_source()
    try:
        if found_qemu().new:
            return None
    except HostError:
        pass  # one that is unpacked does not need it
    try:
        archive = emulator_archive(
            source,
            store,
            named=partial(named_distribution, tree),
            listener=listener,
            update=arguments.update,
            offline=arguments.offline,
        )
    except ArchiveUnavailable as error:
        why = "".join(f"; {line}" for line in error.details)
        listener(Note(text=without_new(f"{error.message}{why}"), loud=True))
        return None
    (planned,) = make_plan([QemuPrograms(archive, source)], store)
    if arguments.offline and not planned.cached:
        listener(Note(text=without_new("--offline, and it has not been fetched yet"), loud=True))
        return None
    return planned


def without_new(why: str) -> str:
    """Say what it means that there is no new enough QEMU."""
    return f"this machine's own QEMU boots the boards, which cannot load designs: {why}"
