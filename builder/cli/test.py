# SPDX-License-Identifier: MIT
"""The command `test`."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Mapping
from pathlib import Path

from rich.markup import escape

from builder.boot_test.emulator import Qemu, found_qemu
from builder.boot_test.emulator_step import PROGRAMS
from builder.boot_test.run import run_checks
from builder.cli.build import build_images
from builder.cli.build_environment import ContainerRequest
from builder.cli.build_options import BuildOptions
from builder.cli.context import Context
from builder.cli.emulator import emulator_plan, without_new
from builder.cli.errors import error_console, report
from builder.cli.existing_image import built_spec
from builder.cli.options import Verbs
from builder.cli.planning import resolve_in_build_environment
from builder.errors import StepError, UserError
from builder.report.console import columns
from builder.report.events import Note
from builder.sandbox.process import Processes
from builder.scheduler.ownership import give_to_caller
from builder.scheduler.scheduler import Scheduler
from builder.spec.resolve import ImageSpec
from builder.store.store import Store
from builder.target_tests.session import Selection

_PASSED = "passed"


def test(arguments: argparse.Namespace, context: Context) -> int:
    """Build the images if necessary, then boot and check one after the other."""
    options = BuildOptions.from_arguments(arguments)
    selection = Selection(arguments.k, arguments.quick)
    specs = resolve_in_build_environment(options, context, ContainerRequest(browser=True))
    store = context.open_store()
    try:
        with store.in_use():  # QEMU runs from the store
            if arguments.built:
                specs = {
                    name: built_spec(spec, context, store, options.settings)
                    for name, spec in specs.items()
                }
                qemu = _download_qemu(options, context, store)
            else:
                result = build_images(specs, options, context, with_qemu=True)
                if result.status:
                    return result.status
                qemu = result.qemu
            return _check_images(specs, context, found_qemu(qemu), selection)
    finally:
        store.evict(context.store_size)


def _download_qemu(options: BuildOptions, context: Context, store: Store) -> Path | None:
    """Return the directory of a QEMU that can boot boards; None if the host's is used."""
    with context.view() as view:
        emulator = emulator_plan(
            context.tree, store, view, update=options.update, offline=options.offline
        )
        if emulator is None:
            return None
        outcome = Scheduler(
            [emulator],
            store=store,
            logs=context.output,
            listener=view,
            processes=Processes(),
            jobs=1,
            offline=options.offline,
        ).attempt()
        for failure in outcome.failures:
            view(Note(text=without_new(failure.message), loud=True))
    entry = outcome.entries.get(emulator.step)
    return entry.files / PROGRAMS if entry else None


def _check_images(
    specs: Mapping[str, ImageSpec], context: Context, qemu: Qemu, selection: Selection
) -> int:
    """Boot and check the boards' images, print the verdicts and return the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        verdicts = {
            name: _check_image(spec, context, qemu, selection, alone=len(specs) == 1)
            for name, spec in specs.items()
        }
    finally:
        give_to_caller(context.output)
    if len(verdicts) > 1:
        for line in columns(list(verdicts.items())):
            context.console.print(escape(line))
    return 0 if set(verdicts.values()) == {_PASSED} else StepError.exit_code


def _check_image(
    spec: ImageSpec, context: Context, qemu: Qemu, selection: Selection, *, alone: bool
) -> str:
    """Boot and check a board's image; return a short verdict.

    Raises:
        BuildError: the checks could not run, and the board is the only one.
    """
    output = context.output_of(spec.name)
    try:
        passed = run_checks(spec, output, qemu=qemu, console=context.console, selection=selection)
    except (StepError, UserError) as error:
        if alone:
            raise
        report(error, error_console())
        return "not checked"
    return _PASSED if passed else "NOT PASSED"


def add_selection(verb: argparse.ArgumentParser) -> None:
    """Add the options that select checks."""
    verb.add_argument(
        "-k", metavar="EXPRESSION", help="run only the matching checks (syntax: pytest's -k)"
    )
    verb.add_argument("--quick", action="store_true", help="skip slow checks")


def register(verbs: Verbs) -> None:
    """Register the command."""
    verb = verbs.add(
        "test",
        test,
        "build images if necessary, boot them under QEMU and check them",
        group="build",
        spec=True,
        examples=["test --board Pynq-Z2", "test --built --board Pynq-Z2 --quick -k jupyter"],
    )
    verb.add_argument(
        "--built", action="store_true",
        help="test the image in the output directory without building; only secrets are taken from "
        "--set, and they must be those of the build",
    )  # fmt: skip
    add_selection(verb)
