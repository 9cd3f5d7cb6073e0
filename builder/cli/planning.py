# SPDX-License-Identifier: MIT
"""Planning of images: resolves boards, selects distributions and plans the steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from builder.apt.archive import Archive
from builder.apt.distribution_selection import native_archive, select_distribution
from builder.cli.build_environment import ContainerRequest, ensure_build_environment
from builder.cli.build_options import BuildOptions
from builder.cli.context import Context
from builder.errors import UserError
from builder.plan.board_steps import BoardSteps, board_steps
from builder.plan.merge import BoardPlan, merge_plans
from builder.plan.plan import Planned, make_plan
from builder.report.events import Event, Listener, Note
from builder.spec.resolve import ImageSpec, NamedDistribution, resolve
from builder.store.checksum import sha256
from builder.store.store import Store

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Planning:
    """Plan of each board, by the board's name, and `plan`, the merged one."""

    boards: Mapping[str, BoardPlan]
    plan: Sequence[Planned]


def board_names(options: BuildOptions, context: Context) -> list[str]:
    """Return the names of the selected boards, without duplicates.

    Raises:
        UserError: `--all` selects the boards in `--boards-dir`, and there are none.
    """
    if not options.all_boards:
        return [*dict.fromkeys(options.boards)]
    if not context.boards_dirs:
        return sorted(context.tree.board_files())
    names = sorted(context.tree.outer_board_files())
    if not names:
        raise UserError(
            f"--all: there is no board in {', '.join(map(os.path.relpath, context.boards_dirs))}",
            hint="a board is a directory that contains board.yaml",
        )
    return names


def resolve_boards(options: BuildOptions, context: Context) -> dict[str, ImageSpec]:
    """Return the spec of each selected board's image, by the board's name.

    Raises:
        UserError: an option or a file is wrong; the error lists the problems of all boards.
    """
    names = board_names(options, context)
    if options.boot_files and len(names) > 1:
        raise UserError(
            f"--boot-files is for one board, not for {len(names)}: {', '.join(names)}",
            hint="set bsp.boot-files in each board's board.yaml",
        )
    return _for_each(
        names,
        lambda name: resolve(
            context.tree,
            name,
            settings=options.settings,
            distro=options.distro,
            profile=options.profile,
            boot_files=options.boot_files and options.boot_files.absolute(),
            provider=options.provider,
            petalinux=options.petalinux,
        ),
    )


def resolve_in_build_environment(
    options: BuildOptions, context: Context, request: ContainerRequest | None = None
) -> dict[str, ImageSpec]:
    """Resolve the selected boards and continue in the build environment.

    `ensure_build_environment` does not return in a process outside of it. That process resolves the
    boards too: mistakes are reported before a container or sudo starts, and the container needs
    mounts of the files that the specs name.

    Raises:
        UserError: an option or a file is wrong.
        HostError: Docker was requested and is unavailable.
    """
    specs = resolve_boards(options, context)
    request = replace(
        request or ContainerRequest(), shown=_user_files(specs.values()), offline=options.offline
    )
    ensure_build_environment(context, request)
    return specs


def _user_files(specs: Iterable[ImageSpec]) -> list[Path]:
    """Return the files outside of the tree that specs name."""
    named = [each for spec in specs for each in (spec.boot_files, spec.petalinux.installer)]
    return [path for path in named if isinstance(path, Path) and path.exists()]


def plan_images(
    options: BuildOptions, specs: Mapping[str, ImageSpec], store: Store, listener: Listener
) -> Planning:
    """Select the boards' distributions and plan their steps.

    Raises:
        UserError: no distribution is usable, or the selected one lacks packages.
    """
    archives = _archives(options, specs, store, listener)
    native = {
        archive: native_archive(
            archive, store, listener=listener, update=options.update, offline=options.offline
        )
        for archive in dict.fromkeys(archives.values())
        if options.native
    }

    def steps_of(name: str) -> BoardSteps:
        archive = archives[name]
        return board_steps(
            specs[name],
            archive,
            native=native.get(archive),
            compress=options.compress,
            only=options.only,
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
    options: BuildOptions, specs: Mapping[str, ImageSpec], store: Store, listener: Listener
) -> dict[str, Archive]:
    """Select each board's archive, once for all boards with the same candidates."""

    def unusable(spec: ImageSpec, distribution: NamedDistribution) -> str | None:
        return None if options.distro else spec.unusable(distribution)

    candidates: dict[tuple[object, ...], list[ImageSpec]] = {}
    for spec in specs.values():
        offered = tuple((item.name, unusable(spec, item)) for item in spec.distributions)
        candidates.setdefault((spec.architecture, offered), []).append(spec)
    selected: dict[str, Archive] = {}
    for alike in candidates.values():
        names = [spec.name for spec in alike]
        archive = select_distribution(
            alike[0].distributions,
            alike[0].architecture,
            store,
            listener=_on_behalf_of(names, listener) if len(candidates) > 1 else listener,
            unusable=partial(unusable, alike[0]),
            update=options.update,
            offline=options.offline,
            strict=options.strict_archive,
        )
        selected |= dict.fromkeys(names, archive)
    # Two selections may return the same archive, fetched twice. All boards must use the same
    # packages: the latest ones, which the next run also finds in the store.
    latest = {(item.distribution.name, item.architecture): item for item in selected.values()}
    return {
        name: latest[item.distribution.name, item.architecture] for name, item in selected.items()
    }


def _on_behalf_of(boards: Sequence[str], listener: Listener) -> Listener:
    """Return a listener that prefixes notes with the names of boards."""

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            event = replace(event, text=f"{', '.join(boards)}: {event.text}")
        listener(event)

    return listen


def _for_each(boards: Iterable[str], work: Callable[[str], Result]) -> dict[str, Result]:
    """Return the result of `work` for each board.

    Raises:
        UserError: `work` raised it for some boards; this error contains them all.
    """
    done: dict[str, Result] = {}
    errors: dict[str, UserError] = {}
    for board in boards:
        try:
            done[board] = work(board)
        except UserError as error:
            errors[board] = error
    if errors:
        raise _combined(errors, of=len(done) + len(errors))
    return done


def _combined(errors: Mapping[str, UserError], *, of: int) -> UserError:
    """Return the errors of some of `of` boards as one error."""
    first = next(iter(errors.values()))
    distinct = {(error.message, error.details) for error in errors.values()}
    if len(errors) == of and len(distinct) == 1:
        return first  # the same for all boards, or there is only one board
    # Details begin with a file name, and several boards may use the same file.
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
