# SPDX-License-Identifier: MIT
"""The command `customize`: makes a new image from an existing one."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.markup import escape

from builder.apt.distribution_selection import native_archive, select_distribution
from builder.boot_test.card import emulated_tree
from builder.boot_test.emulator import found_qemu
from builder.boot_test.emulator_step import PROGRAMS
from builder.boot_test.run import run_checks
from builder.cli.build_environment import ContainerRequest, ensure_build_environment
from builder.cli.context import CUSTOMIZED, Context, typed
from builder.cli.customize_options import CustomizeOptions, add_options
from builder.cli.emulator import emulator_plan
from builder.cli.existing_image import known_recipes
from builder.cli.options import Verbs
from builder.errors import StepError, UserError
from builder.formats.compression import check_sum
from builder.image.base_image import BaseFacts, BaseImage
from builder.image.image import BOOT_OFFSET
from builder.plan.customization import Archives, CustomSteps, Request, custom_steps
from builder.plan.plan import make_plan
from builder.publish.comparison import Manifest
from builder.publish.customized_image import CustomOutput, base_manifest, publish_custom
from builder.publish.output import make_result
from builder.report.console import LineView, duration, size
from builder.report.events import Note
from builder.sandbox.process import Processes
from builder.scheduler.ownership import give_to_caller
from builder.scheduler.scheduler import Scheduler
from builder.spec.extra import extra_recipes
from builder.spec.resolve import ImageSpec, resolve
from builder.spec.texts import package_name
from builder.store.checksum import sha256
from builder.store.store import Store
from builder.target_tests.session import Selection


@dataclass(frozen=True, kw_only=True)
class _Base:
    """The image that is customized.

    directory: its directory, which may contain more files of its build.
    spec: spec of its board's image; None for an unknown board.
    """

    facts: BaseFacts
    manifest: Manifest | None
    directory: Path
    spec: ImageSpec | None


@dataclass(frozen=True, kw_only=True)
class _Customized:
    """The new image.

    spec: its recipes and parameters; None for an unknown board.
    qemu: directory of the downloaded QEMU; None without one.
    """

    base: _Base
    spec: ImageSpec | None
    output: CustomOutput
    steps: CustomSteps
    qemu: Path | None


def customize(arguments: argparse.Namespace, context: Context) -> int:
    """Make a new image from an existing one."""
    started = time.monotonic()
    options = CustomizeOptions.from_arguments(arguments)
    options.check_names(context)
    ensure_build_environment(
        context,
        ContainerRequest(
            shown=[
                options.image.parent,
                *(each.directory for each in options.designs),
                *options.boot_files,
            ],
            written=[options.target.parent],
            browser=options.test,
            offline=options.offline,
        ),
    )
    store = context.open_store()
    made = _build(options, context, store)
    store.evict(context.store_size)
    _print_summary(context, made, taken=duration(time.monotonic() - started))
    target = options.target
    try:
        passed = not options.test or _test(made, context, options.selection)
    finally:
        for path in (made.output.directory, target, *target.parent.glob(f"{target.name}.*")):
            give_to_caller(path)
    return 0 if passed else StepError.exit_code


def _build(options: CustomizeOptions, context: Context, store: Store) -> _Customized:
    """Build and publish the new image."""
    checksum = store.digest(options.image, sha256)
    check_sum(options.image, checksum)
    step = BaseImage(options.image, checksum)
    with store.in_use(), context.view() as view:
        logs = context.output / CUSTOMIZED / options.target.stem / "logs"
        make_result(logs.parent)
        logs.mkdir(exist_ok=True)
        build = partial(Scheduler, store=store, logs=logs, listener=view, processes=Processes())
        facts = BaseFacts.read(build(make_plan([step], store), jobs=1).run()[step].files)
        base = _base(options, context, facts)
        if options.test:
            _check_testable(base)
        request = _request(options, context, base)
        spec = _new_spec(context, base, base.spec, request) if base.spec else None
        steps = custom_steps(
            step,
            facts,
            request,
            tree=context.tree,
            spec=base.spec,
            new_spec=spec if _has_self_test(base, request) else None,
            archives=_archives(options, store, facts, view),
            listener=view,
        )
        plan = make_plan([steps.image], store)
        emulator = None
        if options.test:
            emulator = emulator_plan(
                context.tree, store, view, update=options.update, offline=options.offline
            )
        wanted = [*([emulator] if emulator else []), *plan]
        entries = build(wanted, jobs=options.jobs, offline=options.offline).run()
        output = CustomOutput(
            directory=logs.parent,
            board=base.spec.name if base.spec else facts.board,
            path=options.target,
        )
        publish_custom(output, steps, request, plan=plan, entries=entries, before=base.manifest)
    qemu = entries[emulator.step].files / PROGRAMS if emulator else None
    return _Customized(base=base, spec=spec, output=output, steps=steps, qemu=qemu)


def _base(options: CustomizeOptions, context: Context, facts: BaseFacts) -> _Base:
    path = options.image
    manifest = base_manifest(path, facts)
    name = options.board or (manifest or {}).get("board") or facts.board
    boards = context.tree.board_files()
    if name and name not in boards:
        context.console_note(
            Note(
                text=f"the image's board {name} is unknown: not in the tree, not in --boards-dir",
                loud=True,
            )
        )
    spec = resolve(context.tree, name) if name in boards else None
    if spec and spec.architecture is not facts.architecture:
        raise UserError(
            f"{path}: its programs are for {facts.architecture.value}, but board {name} needs "
            f"{spec.architecture.value}"
        )
    return _Base(facts=facts, manifest=manifest, directory=path.parent, spec=spec)


def _check_testable(base: _Base) -> None:
    """Check that the new image can be booted under QEMU, before it is built.

    Raises:
        UserError: it cannot.
    """
    if base.spec is None:
        raise UserError(
            "the image cannot be tested: its board is unknown",
            hint="name the board with --board",
        )
    if base.facts.boot_offset != BOOT_OFFSET:
        raise UserError(
            "the image cannot be tested: this builder did not lay out its partitions",
            hint="omit --test",
        )


def _request(options: CustomizeOptions, context: Context, base: _Base) -> Request:
    present = (base.manifest or {}).get("recipes", {})
    recipes = extra_recipes(
        context.tree,
        options.recipes,
        present=present,
        settings=options.settings,
        directories=base.spec.directories if base.spec else (),
    )
    return Request(
        recipes=recipes,
        packages=tuple(map(_package, options.packages)),
        designs=tuple(options.designs),
        boot_files=tuple(options.boot_files),
        free=options.free,
    )


def _package(name: str) -> str:
    try:
        return package_name(name)
    except ValueError as error:
        raise UserError(f"--package {name}: {error}") from error


def _archives(
    options: CustomizeOptions, store: Store, facts: BaseFacts, listener: LineView
) -> Archives:
    return Archives(
        target=lambda distribution: select_distribution(
            [distribution],
            facts.architecture,
            store,
            listener=listener,
            update=options.update,
            offline=options.offline,
            strict=options.strict_archive,
        ),
        native=lambda archive: (
            native_archive(
                archive,
                store,
                listener=listener,
                update=options.update,
                offline=options.offline,
            )
            if options.native
            else None
        ),
    )


def _print_summary(context: Context, made: _Customized, *, taken: str) -> None:
    image = made.output.image
    shown = os.path.relpath(image)
    console = context.console
    console.print(
        f"[bold green]customized[/] in {taken}: [bold]{escape(shown)}[/], "
        f"{size(image.stat().st_size)}, from {escape(made.steps.base.path.name)}"
    )
    console.print(f"  write to card:  {escape(typed('flash', shown, '/dev/YOUR-CARD'))}")


def _test(made: _Customized, context: Context, selection: Selection) -> bool:
    """Boot the new image and check its known recipes; return whether all checks passed."""
    assert made.spec, "_check_testable ensures it"
    output = made.output
    emulated_tree(output.image, output.directory / "boot", made.base.directory / "boot")
    return run_checks(
        made.spec,
        output,
        qemu=found_qemu(made.qemu),
        console=context.console,
        selection=selection,
    )


def _has_self_test(base: _Base, request: Request) -> bool:
    """Return whether the new image may contain the command that runs checks on the board."""
    return base.manifest is not None or any(each.model.checks for each in request.recipes.applied)


def _new_spec(context: Context, base: _Base, spec: ImageSpec, request: Request) -> ImageSpec:
    """Return the spec of the new image: recipes and parameters of the base image and new ones."""
    present = spec.parameters() if base.manifest is None else base.manifest.get("recipes", {})
    known = known_recipes(context.tree, spec, present)
    recipes = {**known, **{recipe.name: recipe for recipe in request.recipes.applied}}
    return replace(spec, recipes=tuple(recipes.values()))


def register(verbs: Verbs) -> None:
    """Register the command."""
    verb = verbs.add(
        "customize",
        customize,
        "make a new image from an existing one, which is not changed",
        group="cards",
        examples=[
            "customize output/Pynq-Z2/Pynq-Z2.img -o new.img --package vim --recipe sensors",
            "customize card.img.xz -o new.img --set hostname.name=lab-7 --test",
        ],
    )
    add_options(verb)
