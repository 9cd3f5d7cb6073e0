# SPDX-License-Identifier: MIT
"""The command `customize`: a new image out of one that is there already."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import shtab
from rich.markup import escape

from builder.apt.distribution_selection import native_archive, select_distribution
from builder.boot_test.card import emulated_tree
from builder.boot_test.emulator import found_qemu
from builder.boot_test.emulator_step import PROGRAMS
from builder.boot_test.run import run_checks
from builder.cli.build_environment import ContainerRequest, ensure_build_environment
from builder.cli.context import CUSTOMIZED, Context, typed
from builder.cli.emulator import emulator_plan
from builder.cli.existing_image import known_recipes
from builder.cli.options import (
    BOARDS,
    RECIPES,
    STRICT_ARCHIVE,
    Verbs,
    add_jobs,
    completed,
    size_option,
)
from builder.errors import UserError
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
from builder.spec.overlays import Design, find_design
from builder.spec.reader import closest
from builder.spec.resolve import ImageSpec, resolve
from builder.spec.texts import package_name
from builder.store.checksum import sha256
from builder.store.store import Store
from builder.target_tests.session import Selection


@dataclass(frozen=True, kw_only=True)
class _Base:
    """The image that is customized: what it is, and the files that say more about it.

    spec: what its board's image is to be, if it is a board of the tree.
    """

    facts: BaseFacts
    manifest: Manifest | None
    directory: Path
    spec: ImageSpec | None


def customize(arguments: argparse.Namespace, context: Context) -> int:
    """Make a new image out of one that is there."""
    started = time.monotonic()
    path, target = arguments.image.absolute(), arguments.output_image.absolute()
    designs = [_design(folder.absolute()) for folder in arguments.overlay]
    boot_files = [_boot_file(file.absolute()) for file in arguments.boot_file]
    _check_paths(path, target)
    _check_names(arguments, context)
    shown = [path.parent, *(each.directory for each in designs), *boot_files]
    ensure_build_environment(
        context,
        ContainerRequest(
            shown=shown,
            written=[target.parent],
            browser=arguments.test,
            offline=arguments.offline,
        ),
    )
    store = context.open_store()
    checksum = store.digest(path, sha256)
    check_sum(path, checksum)
    step = BaseImage(path, checksum)
    with store.in_use(), context.view() as view:
        logs = context.output / CUSTOMIZED / target.stem / "logs"
        make_result(logs.parent)
        logs.mkdir(exist_ok=True)
        build = partial(Scheduler, store=store, logs=logs, listener=view, processes=Processes())
        plan = make_plan([step], store)
        facts = BaseFacts.read(build(plan, jobs=1).run()[step].files)
        base = _base(arguments, context, path, facts)
        if arguments.test:
            _check_testable(base)
        request = _request(arguments, context, base, designs, boot_files)
        becomes = _becomes(context, base, base.spec, request) if base.spec else None
        steps = custom_steps(
            step,
            facts,
            request,
            tree=context.tree,
            spec=base.spec,
            new_spec=becomes if _is_told(base, request) else None,
            archives=_archives(arguments, store, facts, view),
            listener=view,
        )
        plan = make_plan([steps.image], store)
        emulator = emulator_plan(arguments, context.tree, store, view) if arguments.test else None
        wanted = [*([emulator] if emulator else []), *plan]
        entries = build(wanted, jobs=arguments.jobs, offline=arguments.offline).run()
        output = CustomOutput(
            directory=logs.parent, board=base.spec.name if base.spec else facts.board, path=target
        )
        publish_custom(output, steps, request, plan=plan, entries=entries, before=base.manifest)
    store.evict(context.store_size)
    _summary(context, output, steps, taken=duration(time.monotonic() - started))
    qemu = entries[emulator.step].files / PROGRAMS if emulator else None
    try:
        passed = not arguments.test or _test(arguments, context, base, becomes, output, qemu=qemu)
    finally:
        for made in (logs.parent, target, *target.parent.glob(f"{target.name}.*")):
            give_to_caller(made)
    return 0 if passed else 3


def _check_paths(path: Path, target: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    if target.suffix != ".img":
        raise UserError(f"-o {target}: the name of an image ends in .img")
    if not target.parent.is_dir():
        raise UserError(f"-o {target}: there is no directory {target.parent}")
    if target.exists() and target.samefile(path):
        raise UserError(
            f"-o {target} is the image that is customized, which stays as it is",
            hint="give the new one another name",
        )


def _check_names(arguments: argparse.Namespace, context: Context) -> None:
    """Find mistakes in names before anything is unpacked."""
    boards = context.tree.board_files()
    if arguments.board and arguments.board not in boards:
        raise UserError(f"there is no board {arguments.board}{closest(arguments.board, boards)}")
    # Which board it is, the image may say: its recipes are among those of all boards.
    directories = [file.parent for file in boards.values()]
    extra_recipes(
        context.tree,
        arguments.recipe,
        present={},
        settings=arguments.settings,
        directories=directories,
    )


def _design(folder: Path) -> Design:
    try:
        return find_design(folder)
    except FileNotFoundError as error:
        raise UserError(f"--overlay {folder}: {error}") from error


def _boot_file(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"--boot-file {path}: there is no such file")
    return path


def _base(arguments: argparse.Namespace, context: Context, path: Path, facts: BaseFacts) -> _Base:
    manifest = base_manifest(path, facts)
    name = arguments.board or (manifest or {}).get("board") or facts.board
    boards = context.tree.board_files()
    if name and name not in boards:
        context.console_note(Note(text=f"board {name} of the image is not known here", loud=True))
    spec = resolve(context.tree, name) if name in boards else None
    if spec and spec.architecture is not facts.architecture:
        raise UserError(
            f"{path}: its programs are for {facts.architecture.value}, but board {name} is "
            f"{spec.architecture.value}"
        )
    return _Base(facts=facts, manifest=manifest, directory=path.parent, spec=spec)


def _check_testable(base: _Base) -> None:
    """Say that an image like this one cannot be booted here before a new one is made."""
    if base.spec is None:
        raise UserError(
            "the image cannot be tested: nothing says which board it is for",
            hint="name it by --board",
        )
    if base.facts.boot_offset != BOOT_OFFSET:
        raise UserError(
            "the image cannot be tested: its partitions are not laid out as ours",
            hint="leave --test away",
        )


def _request(
    arguments: argparse.Namespace,
    context: Context,
    base: _Base,
    designs: Sequence[Design],
    boot_files: Sequence[Path],
) -> Request:
    present = (base.manifest or {}).get("recipes", {})
    recipes = extra_recipes(
        context.tree,
        arguments.recipe,
        present=present,
        settings=arguments.settings,
        directories=base.spec.directories if base.spec else (),
    )
    return Request(
        recipes=recipes,
        packages=tuple(map(_package, arguments.package)),
        designs=tuple(designs),
        boot_files=tuple(boot_files),
        free=arguments.free,
    )


def _package(name: str) -> str:
    try:
        return package_name(name)
    except ValueError as error:
        raise UserError(f"--package {name}: {error}") from error


def _archives(
    arguments: argparse.Namespace, store: Store, facts: BaseFacts, listener: LineView
) -> Archives:
    return Archives(
        target=lambda distribution: select_distribution(
            [distribution],
            facts.architecture,
            store,
            listener=listener,
            update=arguments.update,
            offline=arguments.offline,
            strict=arguments.strict_archive,
        ),
        native=lambda archive: (
            native_archive(
                archive,
                store,
                listener=listener,
                update=arguments.update,
                offline=arguments.offline,
            )
            if arguments.native
            else None
        ),
    )


def _summary(context: Context, output: CustomOutput, steps: CustomSteps, *, taken: str) -> None:
    shown = os.path.relpath(output.image)
    console = context.console
    console.print(
        f"[bold green]customized[/] in {taken}: [bold]{escape(shown)}[/], "
        f"{size(output.image.stat().st_size)}, from {escape(steps.base.path.name)}"
    )
    console.print(f"  write to card:  {escape(typed('flash', shown, '/dev/YOUR-CARD'))}")


def _test(
    arguments: argparse.Namespace,
    context: Context,
    base: _Base,
    spec: ImageSpec | None,
    output: CustomOutput,
    *,
    qemu: Path | None,
) -> bool:
    """Boot the new image, and check all recipes that it is known to have."""
    assert spec, "checked before the image was made"
    emulated_tree(output.image, output.directory / "boot", base.directory / "boot")
    return run_checks(
        spec,
        output,
        qemu=found_qemu(qemu),
        console=context.console,
        selection=Selection(arguments.k, arguments.quick),
    )


def _is_told(base: _Base, request: Request) -> bool:
    """Whether the board can be given checks: it is known to have the command that runs them."""
    return base.manifest is not None or any(each.model.checks for each in request.recipes.applied)


def _becomes(context: Context, base: _Base, spec: ImageSpec, request: Request) -> ImageSpec:
    """Return what the new image is: the base image's recipes and values, and the new ones."""
    present = spec.parameters() if base.manifest is None else base.manifest.get("recipes", {})
    known = known_recipes(context.tree, spec, present)
    recipes = {**known, **{recipe.name: recipe for recipe in request.recipes.applied}}
    return replace(spec, recipes=tuple(recipes.values()))


def declare(verbs: Verbs) -> None:
    """Declare the command."""
    verb = verbs.add(
        "customize", customize, "make a new image out of one that is there, which stays as it is"
    )
    image = verb.add_argument(
        "image", type=Path, metavar="IMAGE",
        help="an image of this builder's, or a released one of PYNQ: .img, or packed (.img.xz, "
        ".img.zst, .zip, ...)",
    )  # fmt: skip
    completed(image, shtab.FILE)
    verb.add_argument(
        "-o", dest="output_image", type=Path, required=True, metavar="NEW.img",
        help="the new image",
    )  # fmt: skip
    recipe = verb.add_argument(
        "--recipe", action="append", default=[], metavar="NAME",
        help="apply a recipe, and those that it requires and the image lacks (may be repeated)",
    )  # fmt: skip
    completed(recipe, RECIPES)
    verb.add_argument(
        "--set", action="append", default=[], metavar="RECIPE.PARAMETER=VALUE", dest="settings",
        help="set a recipe's parameter, and apply that recipe; VALUE may be @FILE, the content of a "
        "file (may be repeated)",
    )  # fmt: skip
    verb.add_argument(
        "--package", action="append", default=[], metavar="NAME",
        help="add a package of the distribution (may be repeated)",
    )  # fmt: skip
    verb.add_argument(
        "--overlay", action="append", default=[], type=Path, metavar="DIR",
        help="add a design for the programmable logic, a directory with its .bit, .hwh, ...; it "
        "takes the place of one of that name (may be repeated)",
    )  # fmt: skip
    verb.add_argument(
        "--boot-file", action="append", default=[], type=Path, metavar="FILE",
        help="put a file onto the boot partition, in place of one of that name (may be repeated)",
    )  # fmt: skip
    board = verb.add_argument(
        "--board", metavar="NAME", help="the image's board, if neither it nor its manifest says so"
    )
    completed(board, BOARDS)
    verb.add_argument(
        "--free", type=size_option, default="512M", metavar="SIZE",
        help="space that the root partition has left at least (default: %(default)s)",
    )  # fmt: skip
    verb.add_argument("--test", action="store_true", help="boot the new image in QEMU and check it")
    verb.add_argument("-k", metavar="EXPRESSION", help="only the checks that match, as pytest's -k")
    verb.add_argument("--quick", action="store_true", help="leave out the checks that take long")
    add_jobs(verb)
    network = verb.add_mutually_exclusive_group()
    network.add_argument("--update", action="store_true", help="fetch the package indexes anew")
    network.add_argument("--offline", action="store_true", help="use nothing from the network")
    verb.add_argument("--strict-archive", action="store_true", help=STRICT_ARCHIVE)
    verb.add_argument(
        "--no-native", dest="native", action="store_false",
        help="emulate all that runs in the root filesystem; slower, for the same result",
    )  # fmt: skip
