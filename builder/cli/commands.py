# SPDX-License-Identifier: MIT
"""The commands: each takes the parsed arguments and returns an exit code."""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from builder.boot_test.emulator import Qemu, found_qemu
from builder.boot_test.emulator_step import PROGRAMS
from builder.boot_test.run import run_checks
from builder.cli.build_environment import (
    ContainerRequest,
    check_containers,
    chosen,
    ensure_build_environment,
)
from builder.cli.context import Context, print_json, typed
from builder.cli.emulator import emulator_plan, without_new
from builder.cli.errors import error_console, message, report
from builder.cli.existing_image import built_spec
from builder.cli.options import Verbs, add_jobs, steps_at_once
from builder.cli.planning import board_names, planning, resolved
from builder.cli.same_image import UNTOLD, same_image
from builder.engine.requirements import check_machine, missing_requirements
from builder.errors import HostError, Interrupted, StepError, UserError
from builder.plan.by_products import PRODUCTS
from builder.plan.merge import merge_plans
from builder.plan.plan import Planned, lines, make_plan
from builder.publish.output import BoardResult, finish
from builder.report.console import columns, duration, size
from builder.report.events import BoardFinished, Note
from builder.sandbox.process import Processes
from builder.scheduler.build_context import BuildContext
from builder.scheduler.ownership import give_to_caller
from builder.scheduler.scheduler import Scheduler, StepFailure
from builder.spec.reader import Reader, closest
from builder.spec.recipe import Recipe
from builder.spec.resolve import ImageSpec
from builder.spec.texts import format_size
from builder.steps.step import Job
from builder.store.store import Store
from builder.target_tests.session import Selection

_PASSED = "passed"


def build(arguments: argparse.Namespace, context: Context) -> int:
    """Build the boards' images; those that can be finished are, whatever becomes of the others."""
    built = _build(_entered(arguments, context), arguments, context)
    context.open_store().evict(context.store_size)
    return built.status


def _entered(
    arguments: argparse.Namespace, context: Context, *, browser: bool = False
) -> dict[str, ImageSpec]:
    """Return what is wanted of the boards' images, in a process where they can be built."""
    specs = resolved(arguments, context)
    ensure_build_environment(
        context, ContainerRequest(shown=_shown(specs), browser=browser, offline=arguments.offline)
    )
    return specs


@dataclass(frozen=True, kw_only=True)
class _Built:
    """Result of a build: the exit code, and the directory of the QEMU that it got, if it did."""

    status: int
    qemu: Path | None = None


def _build(
    specs: Mapping[str, ImageSpec],
    arguments: argparse.Namespace,
    context: Context,
    *,
    emulate: bool = False,
) -> _Built:
    """Build the boards' images, and beside them get a QEMU that can boot them, if wanted."""
    started = time.monotonic()
    store = context.open_store()
    outputs = {name: context.output_of(name) for name in specs}
    with store.in_use(), context.view() as view:
        planned = planning(arguments, specs, store, view)
        emulator = emulator_plan(arguments, context.tree, store, view) if emulate else None
        plan = [*([emulator] if emulator else []), *planned.plan]
        if any(not item.cached for item in plan):
            for lack in check_machine(context.store):
                view(Note(text=f"this machine is short of {lack.what}", loud=True))
            check_containers(plan)
            if arguments.offline:
                _check_offline(planned.plan)
        _stop_on_interrupt()
        outcome = Scheduler(
            plan,
            store=store,
            logs={name: output.logs for name, output in outputs.items()},
            listener=view,
            processes=Processes(),
            jobs=arguments.jobs,
            offline=arguments.offline,
            compiler_cache=context.compiler_cache(store) if arguments.ccache else None,
        ).attempt()
        results = [finish(outputs[name], board, outcome) for name, board in planned.boards.items()]
        # Boards can do without a QEMU that could not be had.
        failures = [failure for failure in outcome.failures if failure.board]
        for failure in outcome.failures:
            if not failure.board:
                view(Note(text=without_new(failure.message), loud=True))
        for result in results:
            view(_finished(result, failures))
    give_to_caller(context.output)
    taken = duration(time.monotonic() - started)
    same = same_image(arguments, context, specs)
    if len(results) > 1:
        _show_all(context, results, taken=taken)
    elif not failures and arguments.only:
        _show_products(context, results[0], taken=taken)
    elif not failures:
        _summary(context, results[0], taken=taken, same=same)
    for result in results:
        for note in result.notes:
            context.console.print(f"[bold yellow]{escape(note)}[/]")
    codes = [report(failure, error_console(), same=same) for failure in failures]
    qemu = outcome.entries.get(emulator.step) if emulator else None
    return _Built(status=codes[0] if codes else 0, qemu=qemu.files / PROGRAMS if qemu else None)


def _finished(result: BoardResult, failures: Sequence[StepFailure]) -> BoardFinished:
    """Return what came of a board as an event."""
    board = result.output.board
    if result.complete:
        (*_, made) = result.products or [result.output.image]
        return BoardFinished(board=board, status=0, image=made)
    # A step that several boards have in common is told as the first one's.
    failure = next((each for each in failures if each.board == board), failures[0])
    return BoardFinished(
        board=board,
        status=failure.cause.exit_code,
        image=None,
        message=message(failure),
        hint=failure.hint,
        log=failure.log,
    )


def _shown(specs: Mapping[str, ImageSpec]) -> list[Path]:
    """Return the files of the user's, wherever they are, that a container is to see."""
    named = [
        each for spec in specs.values() for each in (spec.boot_files, spec.petalinux.installer)
    ]
    return [path for path in named if isinstance(path, Path) and path.exists()]


def _check_offline(plan: Sequence[Planned]) -> None:
    missing = [
        item.label for item in plan if not item.cached and item.certain and item.step.fetches
    ]
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


def _summary(context: Context, result: BoardResult, *, taken: str, same: Sequence[str]) -> None:
    """Print what came of the one board of a build, and what to do with it.

    `same` are the words that mean this image and no other one of the board.
    """
    image = result.output.image
    shown = os.path.relpath(image)
    what = "built" if result.fresh else "nothing to do"
    print_ = context.console.print
    print_(
        f"[bold green]{what}[/] in {taken}: [bold]{escape(shown)}[/], {size(image.stat().st_size)}"
    )
    words = ["test", "--built", "--board", result.output.board, *same]
    print_(f"  check it:       {escape(typed(*words))}")
    if any(word.endswith(f"={UNTOLD}") for word in same):
        print_(f"                  (secrets are not shown: type them in place of {UNTOLD})")
    print_(f"  write to card:  {escape(typed('flash', shown, '/dev/YOUR-CARD'))}")


def _show_products(context: Context, result: BoardResult, *, taken: str) -> None:
    """Print where by-products are."""
    places = ", ".join(os.path.relpath(path) for path in result.products)
    context.console.print(f"[bold green]built[/] in {taken}: [bold]{escape(places)}[/]")


def _show_all(context: Context, results: Sequence[BoardResult], *, taken: str) -> None:
    """Print a table of what came of the boards of a build."""
    rows = [("board", "image", "size", "steps", "time")]
    for result in results:
        (*_, made) = result.products or [result.output.image]
        steps = f"{result.built} built, {result.cached} kept"
        rows.append(
            (
                result.output.board,
                os.path.relpath(made) if result.complete else "NOT FINISHED",
                size(made.stat().st_size) if result.complete and made.is_file() else "",
                "nothing to do" if result.complete and not result.fresh else steps,
                duration(result.seconds),
            )
        )
    for line in columns(rows):
        context.console.print(escape(line))
    done = sum(result.complete for result in results)
    context.console.print(f"{done} of {len(results)} boards finished in {taken}")


def plan(arguments: argparse.Namespace, context: Context) -> int:
    """Show the plan."""
    specs = _entered(arguments, context)
    store = context.open_store()
    with store.in_use():
        steps = planning(arguments, specs, store, context.console_note).plan
    if context.progress == "json":
        print_json(
            [_as_json(item, what) for item, (_, what) in zip(steps, lines(steps), strict=True)]
        )
        return 0
    width = max(len(item.label) for item in steps)
    for label, what in lines(steps):
        style = "dim" if what in ("kept", "not needed") else "bold"
        context.console.print(f"[{style}]{escape(label.ljust(width))}[/]  {escape(what)}")
    context.console.print(_counted(steps))
    return 0


def _as_json(item: Planned, what: str) -> dict[str, object]:
    return {"step": item.label, "boards": [*item.boards], "kept": item.cached, "what": what}


def _counted(plan: Sequence[Planned]) -> str:
    """Say how many steps of a plan are to be built."""
    todo = [item for item in plan if not item.cached]
    if not todo:
        return "all kept"
    sure = sum(item.certain for item in todo)
    count = f"{sure} of {len(plan)} to build"
    return count if sure == len(todo) else f"{count}, and up to {len(todo) - sure} more"


def test(arguments: argparse.Namespace, context: Context) -> int:
    """Build the images if need be, boot one after the other and check it."""
    specs = _entered(arguments, context, browser=True)
    store = context.open_store()
    try:
        with store.in_use():  # QEMU runs out of it
            return _test(specs, arguments, context)
    finally:
        store.evict(context.store_size)


def _test(specs: Mapping[str, ImageSpec], arguments: argparse.Namespace, context: Context) -> int:
    if arguments.built:
        store = context.open_store()
        specs = {
            name: built_spec(spec, context, store, arguments.settings)
            for name, spec in specs.items()
        }
        qemu = found_qemu(_emulator(arguments, context, store))
    else:
        built = _build(
            specs,
            argparse.Namespace(**{**vars(arguments), "jobs": steps_at_once("auto")}),
            context,
            emulate=True,
        )
        if built.status:
            return built.status
        qemu = found_qemu(built.qemu)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        verdicts = {
            name: _verdict(spec, arguments, context, qemu, alone=len(specs) == 1)
            for name, spec in specs.items()
        }
    finally:
        give_to_caller(context.output)
    if len(verdicts) > 1:
        for line in columns(list(verdicts.items())):
            context.console.print(escape(line))
    return 0 if set(verdicts.values()) == {_PASSED} else 3


def _emulator(arguments: argparse.Namespace, context: Context, store: Store) -> Path | None:
    """Get a QEMU that can boot boards, and nothing else; None if this machine's own is used."""
    with context.view() as view:
        emulator = emulator_plan(arguments, context.tree, store, view)
        if emulator is None:
            return None
        outcome = Scheduler(
            [emulator],
            store=store,
            logs=context.output,
            listener=view,
            processes=Processes(),
            jobs=1,
            offline=arguments.offline,
        ).attempt()
        for failure in outcome.failures:
            view(Note(text=without_new(failure.message), loud=True))
    entry = outcome.entries.get(emulator.step)
    return entry.files / PROGRAMS if entry else None


def _verdict(
    spec: ImageSpec, arguments: argparse.Namespace, context: Context, qemu: Qemu, *, alone: bool
) -> str:
    """Check a board's image; say in two words what came of it.

    Raises:
        BuildError: it could not be checked, and there is no other board to go on with.
    """
    output = context.output_of(spec.name)
    try:
        passed = run_checks(
            spec,
            output,
            qemu=qemu,
            console=context.console,
            selection=Selection(arguments.k, arguments.quick),
        )
    except (StepError, UserError) as error:
        if alone:
            raise
        report(error, error_console())
        return "not checked"
    return _PASSED if passed else "NOT PASSED"


def shell(arguments: argparse.Namespace, context: Context) -> int:
    """Open a shell in a step's environment."""
    names = board_names(arguments, context)
    if len(names) > 1:
        raise UserError(f"shell opens a step of one board, not of {len(names)}: {', '.join(names)}")
    specs = resolved(arguments, context)
    wish = ContainerRequest(
        shown=_shown(specs), capable=True, stdin=True, offline=arguments.offline
    )
    ensure_build_environment(context, wish)
    store = context.open_store()
    processes = Processes()
    with store.in_use():
        planned = planning(arguments, specs, store, context.console_note)
        by_name = {item.step.name: item for item in planned.plan}
        if arguments.step not in by_name:
            raise UserError(f"there is no step {arguments.step}{closest(arguments.step, by_name)}")
        step = by_name[arguments.step].step
        below = make_plan(step.parents.values(), store) if step.parents else []
        compiler_cache = context.compiler_cache(store) if arguments.ccache else None
        (name,) = names
        logs = context.output_of(name).logs
        with context.view() as view:
            outcome = Scheduler(
                merge_plans({name: below}),
                store=store,
                logs={name: logs},
                listener=view,
                processes=processes,
                jobs=steps_at_once("auto"),
                compiler_cache=compiler_cache,
            ).attempt()
        if outcome.failures:
            same = same_image(arguments, context, specs)
            return report(outcome.failures[0], error_console(), same=same)
        inputs = {each: outcome.entries[parent] for each, parent in step.parents.items()}
        with (
            BuildContext(store, processes, compiler_cache=compiler_cache) as toolbox,
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
    files = context.tree.board_files()
    rows = []
    for name, path in sorted(files.items()):
        board = reader.board(path, files)
        if board:
            rows.append((name, board.soc.value, board.memory, board.summary))
            table.add_row(name, board.soc.value, format_size(board.memory), escape(board.summary))
    if context.progress == "json":
        print_json(
            [dict(zip(("board", "soc", "memory", "summary"), row, strict=True)) for row in rows]
        )
    else:
        context.console.print(table)
    reader.raise_problems()
    return 0


def recipes(arguments: argparse.Namespace, context: Context) -> int:
    """List the recipes with their parameters."""
    reader = Reader()
    files = context.tree.recipe_files([path.parent for path in context.tree.board_files().values()])
    found = {name: reader.recipe(path) for name, path in sorted(files.items())}
    good = {name: recipe for name, recipe in found.items() if recipe}
    if context.progress == "json":
        print_json([_recipe_as_json(name, recipe) for name, recipe in good.items()])
    else:
        for name, recipe in good.items():
            _print_recipe(name, recipe, context)
    reader.raise_problems()
    return 0


def _recipe_as_json(name: str, recipe: Recipe) -> dict[str, object]:
    parameters = {
        key: {"default": each.default, "summary": each.summary, "secret": each.secret}
        for key, each in recipe.parameters.items()
    }
    return {"recipe": name, "summary": recipe.summary, "parameters": parameters}


def _print_recipe(name: str, recipe: Recipe, context: Context) -> None:
    context.console.print(f"[bold]{escape(name)}[/]  {escape(recipe.summary)}")
    for key, parameter in recipe.parameters.items():
        default = json.dumps(parameter.default)
        context.console.print(
            f"    {escape(name)}.{escape(key)} = {escape(default)}  "
            f"[dim]{escape(parameter.summary)}[/]"
        )


def doctor(arguments: argparse.Namespace, context: Context) -> int:
    """Say what the machine lacks."""
    docker = chosen(context.engine)
    if docker:
        docker.close()
        context.console.print("builds run in containers: the Docker daemon answers")
    found = missing_requirements(context.store, in_container=docker is not None)
    for lack in found:
        word = "[red]lacks[/]  " if lack.vital else "[yellow]is short of[/]  "
        context.console.print(f"{word}{escape(lack.what)}\n       {escape(lack.mend)}")
    if any(lack.vital for lack in found):
        return HostError.exit_code
    if not found:
        context.console.print("[green]this machine has all that a build needs[/]")
    return 0


def cache(arguments: argparse.Namespace, context: Context) -> int:
    """List the store's entries, the least recently used first; or read and compare all of them."""
    ensure_build_environment(context)
    store = context.open_store()
    if arguments.verify:
        with store.in_use():
            return _verify(store, context)
    entries = store.entries()
    if context.progress == "json":
        keys = ("key", "step", "size", "seconds")
        print_json([{key: getattr(entry, key) for key in keys} for entry in entries])
        return 0
    for entry in entries:
        context.console.print(
            f"{entry.key}  {size(entry.size):>9}  {duration(entry.seconds):>12}  {escape(entry.step)}"
        )
    total = size(sum(entry.size for entry in entries))
    context.console.print(f"{len(entries)} entries, {total}, in {escape(str(context.store))}")
    return 0


def _verify(store: Store, context: Context) -> int:
    """Compare all files of the store's entries with their hash trees; remove what is damaged."""
    known = {entry.key: entry for entry in store.entries()}
    keys = store.keys()
    damaged = 0
    with Progress(
        *(
            "verified",
            BarColumn(),
            DownloadColumn(binary_units=True),
            TextColumn("{task.fields[step]}"),
        ),
        console=context.console,
        transient=True,
        disable=not context.console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=sum(entry.size for entry in known.values()), step="")
        for key in keys:
            entry = known.get(key)
            step = entry.step if entry else "unknown step"
            progress.update(task, step=escape(step))
            damage = store.damage(key, fully=True)
            if damage:
                damaged += 1
                what = (
                    "removed" if store.drop(key) else "a build that is at work on it makes it anew"
                )
                context.console.print(f"{key}  {escape(step)}: {escape(damage)}; {what}")
            progress.advance(task, entry.size if entry else 0)
    context.console.print(f"{len(keys)} entries verified, {damaged} damaged")
    return StepError.exit_code if damaged else 0


def _by_product(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--only",
        choices=[*PRODUCTS],
        help="make this alone, and what it needs, in place of an image",
    )


def declare(verbs: Verbs) -> None:
    """Declare the commands of this module."""
    verb = verbs.add("build", build, "build the boards' images (the default)", spec=True)
    add_jobs(verb)
    _by_product(verb)
    _by_product(
        verbs.add("plan", plan, "show which steps are kept, and why others are not", spec=True)
    )
    verb = verbs.add("test", test, "boot the images under QEMU and check them", spec=True)
    verb.add_argument(
        "--built", action="store_true",
        help="take the image in the output directory as it is, and build nothing; of --set it takes "
        "the secrets that the image was built with",
    )  # fmt: skip
    verb.add_argument("-k", metavar="EXPRESSION", help="only the checks that match, as pytest's -k")
    verb.add_argument("--quick", action="store_true", help="leave out the checks that take long")
    verb = verbs.add(
        "shell", shell, "open a shell in a step's environment, of one board", spec=True
    )
    verb.add_argument("step", help="the step, as `plan` lists them")
    verbs.add("boards", boards, "list the boards")
    verbs.add("recipes", recipes, "list the recipes and their parameters")
    verbs.add("doctor", doctor, "say what this machine lacks, and what mends it")
    verb = verbs.add("cache", cache, "list what the store holds")
    verb.add_argument(
        "--verify", action="store_true",
        help="read all of it, and remove what is damaged; exit code 3 if something is",
    )  # fmt: skip
