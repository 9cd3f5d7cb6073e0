# SPDX-License-Identifier: MIT
"""From the words of the command line to a plan: boards, what is wanted of them, archives, steps."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from builder.apt.archive import Archive
from builder.apt.distribution_selection import native_archive, select_distribution
from builder.cli.context import Context
from builder.errors import UserError
from builder.plan.board_steps import BoardSteps, board_steps
from builder.plan.merge import BoardPlan, merge_plans
from builder.plan.plan import Planned, make_plan
from builder.report.events import Event, Listener, Note
from builder.spec.resolve import ImageSpec, NamedDistribution, PetaLinuxUse, resolve
from builder.store.checksum import sha256
from builder.store.store import Store

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Planning:
    """Each board's own plan, by its name, and `plan`, the one for all of them."""

    boards: Mapping[str, BoardPlan]
    plan: Sequence[Planned]


def board_names(arguments: argparse.Namespace, context: Context) -> list[str]:
    """Return the boards that are meant, each once.

    Raises:
        UserError: those of the user's directories are, which hold none.
    """
    if not arguments.all:
        return [*dict.fromkeys(arguments.boards)]
    if not context.boards_dirs:
        return sorted(context.tree.board_files())
    names = sorted(context.tree.outer_board_files())
    if not names:
        raise UserError(
            f"--all: there is no board in {', '.join(map(os.path.relpath, context.boards_dirs))}",
            hint="a board is a directory with a board.yaml in it",
        )
    return names


def resolved(arguments: argparse.Namespace, context: Context) -> dict[str, ImageSpec]:
    """Return what is wanted of each board; needs no root.

    Raises:
        UserError: something is wrong; it names the problems of all boards.
    """
    names = board_names(arguments, context)
    if arguments.boot_files and len(names) > 1:
        raise UserError(
            f"--boot-files are those of one board, not of {len(names)}: {', '.join(names)}",
            hint="name each board's in its board.yaml, as bsp.boot-files",
        )
    return _for_each(
        names,
        lambda name: resolve(
            context.tree,
            name,
            settings=arguments.settings,
            distro=arguments.distro,
            profile=arguments.profile,
            boot_files=arguments.boot_files and arguments.boot_files.absolute(),
            provider=arguments.bsp,
            petalinux=PetaLinuxUse(
                installer=arguments.petalinux_installer
                and arguments.petalinux_installer.absolute(),
                accepted=arguments.accept_petalinux_license,
                offline=arguments.offline,
            ),
        ),
    )


def planning(
    arguments: argparse.Namespace,
    specs: Mapping[str, ImageSpec],
    store: Store,
    listener: Listener,
) -> Planning:
    """Choose the boards' archives and plan their steps.

    Raises:
        UserError: an image cannot be made of the distribution's packages, or there is none.
    """
    archives = _archives(arguments, specs, store, listener)
    native = {
        archive: native_archive(
            archive, store, listener=listener, update=arguments.update, offline=arguments.offline
        )
        for archive in dict.fromkeys(archives.values())
        if arguments.native
    }

    def steps_of(name: str) -> BoardSteps:
        archive = archives[name]
        return board_steps(
            specs[name],
            archive,
            native=native.get(archive),
            compress=arguments.compress,
            only=arguments.only,
            read=partial(store.digest, read=sha256),
        )

    boards = {
        name: BoardPlan(
            steps=steps,
            plan=make_plan(steps.targets, store, optional=steps.checks, shown=steps.shown),
        )
        for name, steps in _for_each(specs, steps_of).items()
    }
    return Planning(
        boards=boards, plan=merge_plans({name: board.plan for name, board in boards.items()})
    )


def _archives(
    arguments: argparse.Namespace,
    specs: Mapping[str, ImageSpec],
    store: Store,
    listener: Listener,
) -> dict[str, Archive]:
    """Choose each board's archive. Boards that have the same choice choose once, together."""

    def unusable(spec: ImageSpec, distribution: NamedDistribution) -> str | None:
        return None if arguments.distro else spec.unusable(distribution)

    choices: dict[tuple[object, ...], list[ImageSpec]] = {}
    for spec in specs.values():
        offered = tuple((item.name, unusable(spec, item)) for item in spec.distributions)
        choices.setdefault((spec.architecture, offered), []).append(spec)
    chosen: dict[str, Archive] = {}
    for alike in choices.values():
        names = [spec.name for spec in alike]
        archive = select_distribution(
            alike[0].distributions,
            alike[0].architecture,
            store,
            listener=_on_behalf_of(names, listener) if len(choices) > 1 else listener,
            unusable=partial(unusable, alike[0]),
            update=arguments.update,
            offline=arguments.offline,
            strict=arguments.strict_archive,
        )
        chosen |= dict.fromkeys(names, archive)
    # Two choices may end at the same archive, which is fetched twice then. All boards are to see
    # the same packages: those that came last, which the next call finds too.
    latest = {(item.distribution.name, item.architecture): item for item in chosen.values()}
    return {
        name: latest[item.distribution.name, item.architecture] for name, item in chosen.items()
    }


def _on_behalf_of(boards: Sequence[str], listener: Listener) -> Listener:
    """Return a listener that says of which boards a note is."""

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            event = replace(event, text=f"{', '.join(boards)}: {event.text}")
        listener(event)

    return listen


def _for_each(boards: Iterable[str], work: Callable[[str], Result]) -> dict[str, Result]:
    """Return what `work` returns for each board.

    Raises:
        UserError: it raised one for some of them; all that they say is in this one.
    """
    done: dict[str, Result] = {}
    errors: dict[str, UserError] = {}
    for board in boards:
        try:
            done[board] = work(board)
        except UserError as error:
            errors[board] = error
    if errors:
        raise _together(errors, of=len(done) + len(errors))
    return done


def _together(errors: Mapping[str, UserError], *, of: int) -> UserError:
    """Return the errors of some of so many boards as one."""
    first = next(iter(errors.values()))
    said = {(error.message, error.details) for error in errors.values()}
    if len(errors) == of and len(said) == 1:
        return first  # of all boards the same, or there is but one
    # Details begin with the file that they are about, which boards may have in common.
    lines = dict.fromkeys(
        line
        for board, error in errors.items()
        for line in error.details or [f"{board}: {error.message}"]
    )
    hints = dict.fromkeys(error.hint for error in errors.values() if error.hint)
    return UserError(
        f"{len(lines)} problem{'s' if len(lines) > 1 else ''} with "
        f"{len(errors)} of {of} boards: {', '.join(errors)}",
        hint="; ".join(hints) or None,
        details=[*lines],
    )
