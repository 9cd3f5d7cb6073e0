# SPDX-License-Identifier: MIT
"""The commands: each takes the parsed arguments and returns an exit code."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from rich.markup import escape
from rich.table import Table

from builder.archive.choice import choose, native_archive
from builder.cli.context import Context, become_root
from builder.engine.process import Processes
from builder.engine.requirements import check_machine, lacking
from builder.errors import HostError, Interrupted, UserError
from builder.machine.checks import run_checks
from builder.plan.board import BoardSteps, board_steps
from builder.plan.build import Build, Toolbox
from builder.plan.plan import Planned, lines, make_plan
from builder.plan.publish import give_to_caller, publish
from builder.report.console import duration, size
from builder.report.events import Listener, Note
from builder.spec.models import KINDS, format_size, json_schema
from builder.spec.reader import Reader, closest
from builder.spec.reference import reference
from builder.spec.resolve import ImageSpec, resolve
from builder.steps.step import Job
from builder.store.store import Store

Command: TypeAlias = Callable[[argparse.Namespace, Context], int]


@dataclass(frozen=True, kw_only=True)
class Planning:
    """A board's steps and what the plan says of them."""

    steps: BoardSteps
    plan: Sequence[Planned]


def _planning(
    arguments: argparse.Namespace, context: Context, store: Store, listener: Listener
) -> Planning:
    spec = _resolved(arguments, context)
    archive = choose(
        spec.distributions,
        spec.architecture,
        store,
        listener=listener,
        unusable=(lambda _: None) if arguments.distro else spec.unusable,
        update=arguments.update,
        offline=arguments.offline,
    )
    native = (
        native_archive(
            archive, store, listener=listener, update=arguments.update, offline=arguments.offline
        )
        if arguments.native
        else None
    )
    steps = board_steps(spec, archive, native=native, compress=arguments.compress)
    return Planning(steps=steps, plan=make_plan(steps.targets, store))


def _resolved(arguments: argparse.Namespace, context: Context) -> ImageSpec:
    """Return what is wanted; what is wrong with it is said before anything asks for a password."""
    return resolve(
        context.tree, arguments.board, settings=arguments.settings, distro=arguments.distro
    )


def build(arguments: argparse.Namespace, context: Context) -> int:
    """Build a board's image."""
    started = time.monotonic()
    _resolved(arguments, context)
    become_root(context)
    store = context.open_store()
    output = context.output_of(arguments.board)
    processes = Processes()
    with store.in_use(), context.view() as view:
        planning = _planning(arguments, context, store, view)
        if any(not item.kept for item in planning.plan):
            for lack in check_machine(context.store):
                view(Note(text=f"this machine is short of {lack.what}", loud=True))
            if arguments.offline:
                _check_offline(planning.plan)
        _stop_on_interrupt()
        entries = Build(
            planning.plan,
            store=store,
            logs=output.logs,
            listener=view,
            processes=processes,
            jobs=arguments.jobs,
            offline=arguments.offline,
        ).run()
        fresh = publish(output, planning.steps, planning.plan, entries)
    give_to_caller(context.output)
    store.evict(context.store_size)
    taken = duration(time.monotonic() - started)
    _summary(context, output.image, arguments, fresh=fresh, taken=taken)
    return 0


def _check_offline(plan: Sequence[Planned]) -> None:
    missing = [item.step.name for item in plan if not item.kept and item.step.fetches]
    if missing:
        raise UserError(
            f"--offline, but these have not been fetched yet: {', '.join(missing)}",
            hint="build once with the network; the store keeps what came",
        )


def _stop_on_interrupt() -> None:
    """The first Ctrl-C stops everything in order, the second at once."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        def again(number: int, frame: FrameType | None) -> None:
            # All commands die with this process; the next build cleans up the store.
            os._exit(Interrupted.exit_code)

        signal.signal(signal.SIGINT, again)
        signal.signal(signal.SIGTERM, again)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)


def _summary(
    context: Context, image: Path, arguments: argparse.Namespace, *, fresh: bool, taken: str
) -> None:
    shown = os.path.relpath(image)
    what = "built" if fresh else "nothing to do"
    print_ = context.console.print
    print_(
        f"[bold green]{what}[/] in {taken}: [bold]{escape(shown)}[/], {size(image.stat().st_size)}"
    )
    print_(f"  check it:       build.py test --board {escape(arguments.board)}")
    print_(f"  write to card:  bmaptool copy {escape(shown)} /dev/YOUR-CARD")


def plan(arguments: argparse.Namespace, context: Context) -> int:
    """Show the plan."""
    _resolved(arguments, context)
    become_root(context)
    store = context.open_store()
    planning = _planning(arguments, context, store, context.console_note)
    width = max(len(item.step.name) for item in planning.plan)
    for name, what in lines(planning.plan):
        style = "dim" if what in ("kept", "not needed") else "bold"
        context.console.print(f"[{style}]{escape(name.ljust(width))}[/]  {escape(what)}")
    todo = sum(not item.kept for item in planning.plan)
    context.console.print("all kept" if not todo else f"{todo} of {len(planning.plan)} to build")
    return 0


def test(arguments: argparse.Namespace, context: Context) -> int:
    """Build the image if need be, boot it and check it."""
    _resolved(arguments, context)
    become_root(context)
    status = build(argparse.Namespace(**{**vars(arguments), "jobs": 2}), context)
    if status:
        return status
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = context.output_of(arguments.board)
    spec = _resolved(arguments, context)
    passed = run_checks(spec, output, console=context.console, select=arguments.k)
    give_to_caller(context.output)
    return 0 if passed else 3


def shell(arguments: argparse.Namespace, context: Context) -> int:
    """Open a shell in a step's environment."""
    _resolved(arguments, context)
    become_root(context)
    store = context.open_store()
    processes = Processes()
    with store.in_use():
        planning = _planning(arguments, context, store, context.console_note)
        by_name = {item.step.name: item for item in planning.plan}
        if arguments.step not in by_name:
            raise UserError(f"there is no step {arguments.step}{closest(arguments.step, by_name)}")
        step = by_name[arguments.step].step
        below = make_plan(step.parents.values(), store) if step.parents else []
        logs = context.output_of(arguments.board).logs
        with context.view() as view:
            entries = Build(
                below, store=store, logs=logs, listener=view, processes=processes, jobs=2
            ).run()
        inputs = {name: entries[parent] for name, parent in step.parents.items()}
        with (
            Toolbox(store, processes) as toolbox,
            store.scratch("shell-output") as scratch,
            (logs / "shell.log").open("w") as log,
        ):
            job = Job(
                inputs=inputs,
                output=scratch,
                log=log,
                store=store,
                tools=toolbox,
                on_line=log.write,
            )
            opened = step.shell(job)
            if opened is None:
                raise UserError(f"step {step.name} has no environment to look at")
            with opened as prepared:
                context.console.print(escape(prepared.about))
                prepared.workspace.interactive(
                    prepared.argv, cwd=prepared.cwd, environment=prepared.environment
                )
    return 0


def boards(arguments: argparse.Namespace, context: Context) -> int:
    """List the boards."""
    reader = Reader()
    table = Table("board", "SoC", "memory", "what it is", box=None)
    for name, path in sorted(context.tree.board_files().items()):
        board = reader.board(path)
        if board:
            table.add_row(name, board.soc.value, format_size(board.memory), escape(board.summary))
    context.console.print(table)
    reader.raise_problems()
    return 0


def recipes(arguments: argparse.Namespace, context: Context) -> int:
    """List the recipes with their parameters."""
    reader = Reader()
    for name, path in sorted(context.tree.recipe_files().items()):
        recipe = reader.recipe(path)
        if recipe:
            context.console.print(f"[bold]{escape(name)}[/]  {escape(recipe.summary)}")
            for key, parameter in recipe.parameters.items():
                default = json.dumps(parameter.default)
                context.console.print(
                    f"    {escape(name)}.{escape(key)} = {escape(default)}  "
                    f"[dim]{escape(parameter.summary)}[/]"
                )
    reader.raise_problems()
    return 0


def doctor(arguments: argparse.Namespace, context: Context) -> int:
    """Say what the machine lacks."""
    found = lacking(context.store)
    for lack in found:
        word = "[red]lacks[/]  " if lack.vital else "[yellow]is short of[/]  "
        context.console.print(f"{word}{escape(lack.what)}\n       {escape(lack.mend)}")
    if any(lack.vital for lack in found):
        return HostError.exit_code
    if not found:
        context.console.print("[green]this machine has all that a build needs[/]")
    return 0


def cache(arguments: argparse.Namespace, context: Context) -> int:
    """List the store's entries, the least recently used first."""
    become_root(context)
    entries = context.open_store().entries()
    for entry in entries:
        context.console.print(
            f"{entry.key}  {size(entry.size):>9}  {duration(entry.seconds):>12}  {escape(entry.step)}"
        )
    total = size(sum(entry.size for entry in entries))
    context.console.print(f"{len(entries)} entries, {total}, in {escape(str(context.store))}")
    return 0


def clean(arguments: argparse.Namespace, context: Context) -> int:
    """Remove results."""
    become_root(context)
    if arguments.store_too:
        store = context.open_store()
        if not store.empty():
            raise UserError("the store is in use by a build; it stays as it is")
    shutil.rmtree(context.output, ignore_errors=True)
    return 0


def schemas(arguments: argparse.Namespace, context: Context) -> int:
    """Write the JSON Schemas and the reference."""
    folder = Path(arguments.directory)
    (folder / "schemas").mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        text = json.dumps(json_schema(kind), indent=2) + "\n"
        (folder / f"schemas/{kind}.schema.json").write_text(text)
    (folder / "reference.md").write_text(reference())
    return 0
