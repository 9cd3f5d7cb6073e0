# SPDX-License-Identifier: MIT
"""The command `build`."""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.markup import escape

from builder.boot_test.emulator_step import PROGRAMS
from builder.cli.build_environment import check_containers
from builder.cli.build_options import HIDDEN, BuildOptions
from builder.cli.context import Context, typed
from builder.cli.emulator import emulator_plan, without_new
from builder.cli.errors import error_console, message, report
from builder.cli.options import Verbs, add_jobs
from builder.cli.planning import plan_images, resolve_in_build_environment
from builder.engine.requirements import check_machine
from builder.errors import Interrupted, UserError
from builder.plan.by_products import PRODUCTS
from builder.plan.plan import Planned
from builder.publish.output import BoardResult, finish
from builder.report.console import columns, duration, size
from builder.report.events import BoardFinished, Listener, Note
from builder.sandbox.process import Processes
from builder.scheduler.ownership import give_to_caller
from builder.scheduler.scheduler import Scheduler, StepFailure
from builder.spec.resolve import ImageSpec


def build(arguments: argparse.Namespace, context: Context) -> int:
    """Build the boards' images; a failure of one board does not stop the others."""
    options = BuildOptions.from_arguments(arguments)
    specs = resolve_in_build_environment(options, context)
    result = build_images(specs, options, context)
    context.open_store().evict(context.store_size)
    return result.status


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """Exit code of a build, and the directory of the QEMU that it downloaded, if any."""

    status: int
    qemu: Path | None = None


def build_images(
    specs: Mapping[str, ImageSpec],
    options: BuildOptions,
    context: Context,
    *,
    with_qemu: bool = False,
) -> BuildResult:
    """Build the boards' images; with `with_qemu`, also download a QEMU that can boot them."""
    started = time.monotonic()
    store = context.open_store()
    outputs = {name: context.output_of(name) for name in specs}
    with store.in_use(), context.view() as view:
        planned = plan_images(options, specs, store, view)
        emulator = None
        if with_qemu:
            emulator = emulator_plan(
                context.tree, store, view, update=options.update, offline=options.offline
            )
        plan = [*([emulator] if emulator else []), *planned.plan]
        _check_before_build(plan, planned.plan, options, context, view)
        _stop_on_interrupt()
        outcome = Scheduler(
            plan,
            store=store,
            logs={name: output.logs for name, output in outputs.items()},
            listener=view,
            processes=Processes(),
            jobs=options.jobs,
            offline=options.offline,
            compiler_cache=context.compiler_cache(store) if options.ccache else None,
        ).attempt()
        results = [finish(outputs[name], board, outcome) for name, board in planned.boards.items()]
        # Images do not need the QEMU, whose step belongs to no board.
        failures = [failure for failure in outcome.failures if failure.board]
        for failure in outcome.failures:
            if not failure.board:
                view(Note(text=without_new(failure.message), loud=True))
        for result in results:
            view(_finished(result, failures))
    give_to_caller(context.output)
    same = options.to_argv(specs.values())
    taken = duration(time.monotonic() - started)
    _print_results(context, results, taken=taken, same=same, failed=bool(failures))
    codes = [report(failure, error_console(), same=same) for failure in failures]
    qemu = outcome.entries.get(emulator.step) if emulator else None
    return BuildResult(
        status=codes[0] if codes else 0, qemu=qemu.files / PROGRAMS if qemu else None
    )


def _check_before_build(
    plan: Sequence[Planned],
    boards_plan: Sequence[Planned],
    options: BuildOptions,
    context: Context,
    listener: Listener,
) -> None:
    """Check that the steps of a plan can run, if any step is to be built.

    Raises:
        HostError: this machine lacks something.
        UserError: with `--offline`, something was not downloaded before.
    """
    if all(item.cached for item in plan):
        return
    for lack in check_machine(context.store):
        listener(Note(text=f"this machine is short of {lack.what}", loud=True))
    check_containers(plan)
    missing = [
        item.label for item in boards_plan if not item.cached and item.certain and item.step.fetches
    ]
    if options.offline and missing:
        raise UserError(
            f"--offline, but not downloaded yet: {', '.join(missing)}",
            hint="build once with the network; the store caches downloads",
        )


def _stop_on_interrupt() -> None:
    """Let the first Ctrl-C stop the build in order, and the second one exit at once."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        def again(number: int, frame: FrameType | None) -> None:
            # All child processes die with this one; the next build cleans up the store.
            os._exit(Interrupted.exit_code)

        signal.signal(signal.SIGINT, again)
        signal.signal(signal.SIGTERM, again)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)


def _finished(result: BoardResult, failures: Sequence[StepFailure]) -> BoardFinished:
    """Return the event about a board's result."""
    board = result.output.board
    if result.complete:
        (*_, made) = result.products or [result.output.image]
        return BoardFinished(board=board, status=0, image=made)
    # A step of several boards is reported with the name of the first one.
    failure = next((each for each in failures if each.board == board), failures[0])
    return BoardFinished(
        board=board,
        status=failure.cause.exit_code,
        image=None,
        message=message(failure),
        hint=failure.hint,
        log=failure.log,
    )


def _print_results(
    context: Context,
    results: Sequence[BoardResult],
    *,
    taken: str,
    same: Sequence[str],
    failed: bool,
) -> None:
    if len(results) > 1:
        _print_table(context, results, taken=taken)
    elif not failed and results[0].products:
        _print_products(context, results[0], taken=taken)
    elif not failed:
        _print_summary(context, results[0], taken=taken, same=same)
    for result in results:
        for note in result.notes:
            context.console.print(f"[bold yellow]{escape(note)}[/]")


def _print_summary(
    context: Context, result: BoardResult, *, taken: str, same: Sequence[str]
) -> None:
    """Print the image of the only board of a build, and the commands to use it.

    `same` are the options that select the same image in other commands.
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
    if any(word.endswith(f"={HIDDEN}") for word in same):
        print_(f"                  (secrets are not shown: replace {HIDDEN} with their values)")
    print_(f"  write to card:  {escape(typed('flash', shown, '/dev/YOUR-CARD'))}")


def _print_products(context: Context, result: BoardResult, *, taken: str) -> None:
    """Print the paths of by-products."""
    places = ", ".join(os.path.relpath(path) for path in result.products)
    context.console.print(f"[bold green]built[/] in {taken}: [bold]{escape(places)}[/]")


def _print_table(context: Context, results: Sequence[BoardResult], *, taken: str) -> None:
    """Print a table of the boards' results."""
    rows = [("board", "image", "size", "steps", "time")]
    for result in results:
        (*_, made) = result.products or [result.output.image]
        steps = f"{result.built} built, {result.cached} cached"
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


def add_only(verb: argparse.ArgumentParser) -> None:
    """Add the option `--only`."""
    verb.add_argument(
        "--only",
        choices=[*PRODUCTS],
        help="build only this by-product and the steps that it needs, no image",
    )


def register(verbs: Verbs) -> None:
    """Register the command."""
    verb = verbs.add(
        "build",
        build,
        "build the boards' images (default command)",
        group="build",
        spec=True,
        examples=[
            "build --board Pynq-Z2",
            "build --board ZCU111 --profile minimal --compress xz",
        ],
    )
    add_jobs(verb)
    add_only(verb)
