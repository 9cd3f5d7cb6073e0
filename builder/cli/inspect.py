# SPDX-License-Identifier: MIT
"""The commands `dump`, `diff`, `validate` and `upgrade`, which read boards and builds."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import shtab
from rich.markup import escape

from builder.bsp.ps7.cpu_clock_check import problems_of
from builder.cli.build_options import BuildOptions
from builder.cli.context import ROOT, Context, print_json, typed
from builder.cli.options import BOARDS_OR_FILES, Verbs, completed
from builder.cli.planning import resolve_boards
from builder.errors import UserError
from builder.publish.comparison import Change, compare, is_manifest
from builder.report.console import columns
from builder.spec.document import Problem
from builder.spec.dump import differences, dump
from builder.spec.models import FORMAT
from builder.spec.reader import SpecError, SpecTree
from builder.spec.resolve import resolve
from builder.spec.unused import problems_of_board, problems_of_shared
from builder.spec.upgrade import upgraded, upgraded_profile
from builder.spec.yaml_text import MOST_BYTES
from builder.untrusted.reading import parsed_json, plain_file, plain_text

_MANIFEST = "manifest.json"


def dump_spec(arguments: argparse.Namespace, context: Context) -> int:
    """Print the resolved specs of boards' images, with the origin of each value."""
    specs = resolve_boards(BuildOptions.from_arguments(arguments), context)
    if arguments.json:
        print_json({name: [asdict(value) for value in dump(spec)] for name, spec in specs.items()})
        return 0
    for name, spec in specs.items():
        if len(specs) > 1:
            context.console.print(f"[bold]{escape(name)}[/]")
        _print_rows(
            [(each.key, _text(each.value), _short(each.origin)) for each in dump(spec)], context
        )
    return 0


def diff(arguments: argparse.Namespace, context: Context) -> int:
    """Print the differences between two boards or between two builds."""
    sides = (arguments.left, arguments.right)
    manifests = [path for path in map(_manifest, sides) if path]
    if len(manifests) == 1:
        raise UserError(
            f"{' and '.join(sides)}: one is a build, the other is not",
            hint=f"name two boards, or two {_MANIFEST} files or their directories",
        )
    found = [*(_of_builds(*manifests) if manifests else _of_boards(*sides, context))]
    if arguments.json:
        print_json([dict(zip(("key", "left", "right"), row, strict=True)) for row in found])
    elif found:
        _print_rows([("", *sides), *((key, _text(a), _text(b)) for key, a, b in found)], context)
    else:
        context.console.print("no difference")
    return 0


_Row = tuple[str, Any, Any]


def _of_boards(left: str, right: str, context: Context) -> Iterator[_Row]:
    for each in differences(resolve(context.tree, left), resolve(context.tree, right)):
        left_value, right_value = (side.value if side else None for side in (each.left, each.right))
        yield each.key, left_value, right_value


def _of_builds(before: Path, after: Path) -> Iterator[_Row]:
    comparison = compare(_read(before), _read(after))
    for part in fields(comparison):
        changes: Sequence[Change] = getattr(comparison, part.name)
        kind = part.name.replace("_", "-")
        for change in changes:
            yield f"{kind}: {change.name}", change.before, change.after


def _manifest(word: str) -> Path | None:
    """Return the manifest that a word of the command line names; None if it is a board's name."""
    path = Path(word)
    if path.is_dir() and (path / _MANIFEST).is_file():
        return path / _MANIFEST
    return path if path.is_file() else None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        manifest = parsed_json(plain_file(path))
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    if not is_manifest(manifest):
        raise UserError(
            f"{path}: not the manifest of a build", hint=f"builds write the manifest as {_MANIFEST}"
        )
    return manifest


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Result of the validation of a board's files. Warnings are no failure.

    board: None for recipes and profiles that several boards share; `file` is then their directory.
    """

    board: str | None
    file: Path
    problems: Sequence[Problem]
    warnings: Sequence[str]


def validate(arguments: argparse.Namespace, context: Context) -> int:
    """Validate the files of boards without building anything."""
    names, tree, shared = _boards_in([Path(word) for word in arguments.directories], context)
    verdicts = [_validate_board(tree, name) for name in names]
    verdicts += _validate_shared(tree, shared, verdicts)
    if arguments.json:
        print_json([_as_json(verdict) for verdict in verdicts])
    for verdict in [] if arguments.json else verdicts:
        good = "[green]good[/]" if not verdict.problems else "[red]NOT GOOD[/]"
        name = verdict.board or _short(str(verdict.file))
        context.console.print(f"{escape(name)}: {good}")
        for problem in verdict.problems:
            context.console.print(f"  {escape(_short(str(problem)))}")
        for warning in verdict.warnings:
            context.console.print(f"  [yellow]warning:[/] {escape(warning)}")
    return UserError.exit_code if any(verdict.problems for verdict in verdicts) else 0


def _boards_in(folders: Sequence[Path], context: Context) -> tuple[list[str], SpecTree, list[Path]]:
    """Return the boards in directories, a tree that contains them, and the shared directories.

    A folder is the directory of one board or of several boards. A shared directory has recipes and
    profiles for all boards in it.

    Raises:
        UserError: a directory contains no board.
    """
    if not folders:
        return sorted(context.tree.board_files()), context.tree, [ROOT, *context.boards_dirs]
    names: list[str] = []
    outer: list[Path] = []
    shared: list[Path] = []
    for given in folders:
        folder = given.resolve()
        parent = folder.parent if (folder / "board.yaml").is_file() else folder
        found = SpecTree(root=ROOT, boards_dirs=(parent,)).board_files()
        own = [name for name, path in found.items() if path.is_relative_to(folder)]
        if not own:
            raise UserError(
                f"{given}: there is no board",
                hint="a board is a directory that contains board.yaml",
            )
        names += own
        outer.append(parent)
        shared += [folder] if folder == parent else []
    tree = SpecTree(root=ROOT, boards_dirs=tuple(dict.fromkeys((*context.boards_dirs, *outer))))
    return [*dict.fromkeys(names)], tree, [*dict.fromkeys(shared)]


def _validate_board(tree: SpecTree, name: str) -> Verdict:
    file = tree.board_files()[name]
    problems = problems_of_board(tree, name)
    try:
        spec = resolve(tree, name)
    except SpecError as error:
        found = sorted({*error.problems, *problems})
        return Verdict(board=name, file=file, problems=found, warnings=())
    problems += problems_of(spec)
    warnings: list[str] = []
    if ("format",) not in spec.document.places:
        warnings.append(
            f"board.yaml has no key `format`: add `format: {FORMAT}`, or run "
            f"{typed('upgrade', os.path.relpath(file.parent))}"
        )
    unusable = [reason for each in spec.distributions if (reason := spec.unusable(each))]
    warnings += unusable
    if len(unusable) == len(spec.distributions):
        problems.append(spec.document.problem(("distro",), "none of these can be used"))
    if not any((folder / "tests").is_dir() for folder in spec.directories):
        warnings.append("the board has no checks of its own (directory tests/)")
    return Verdict(board=name, file=file, problems=problems, warnings=warnings)


def _validate_shared(
    tree: SpecTree, folders: Sequence[Path], of_boards: Sequence[Verdict]
) -> Iterator[Verdict]:
    """Validate shared recipes and profiles; skip problems that a board's verdict contains."""
    reported = {problem for verdict in of_boards for problem in verdict.problems}
    boards = [path.parent for path in tree.board_files().values()]
    for folder in folders:
        found = {*problems_of_shared(tree, folder, boards)} - reported
        if found:
            yield Verdict(board=None, file=folder, problems=sorted(found), warnings=())


def _as_json(verdict: Verdict) -> dict[str, object]:
    return {
        "board": verdict.board,
        "file": str(verdict.file),
        "good": not verdict.problems,
        "problems": [{**asdict(each), "path": str(each.path)} for each in verdict.problems],
        "warnings": [*verdict.warnings],
    }


def upgrade(arguments: argparse.Namespace, context: Context) -> int:
    """Convert boards' files to the current format: all of them or, after an error, none."""
    outdated: dict[Path, str] = {}
    for path, convert in _upgrades(arguments.directories).items():
        before = plain_text(path, most=MOST_BYTES)
        try:
            text, notes = convert(before)
        except UserError as error:
            raise UserError(f"{path}: {error.message}", hint=error.hint) from error
        if text != before:
            outdated[path] = text
        for note in notes if text != before else ["up to date"]:
            context.console.print(f"{escape(str(path))}: {escape(note)}")
    if arguments.check:
        return UserError.exit_code if outdated else 0
    for path, text in outdated.items():
        partial = path.with_name(f".{path.name}.new")
        partial.write_text(text)
        partial.chmod(path.stat().st_mode)
        partial.replace(path)
    return 0


def _upgrades(folders: Sequence[str]) -> dict[Path, Callable[[str], tuple[str, list[str]]]]:
    """Return the files of boards and profiles in directories, with the function that upgrades each.

    Raises:
        UserError: a directory contains no board.
    """
    found: dict[Path, Callable[[str], tuple[str, list[str]]]] = {}
    for folder in map(Path, folders):
        files = [folder / "board.yaml", *sorted(folder.glob("*/board.yaml"))]
        boards = [path for path in files if path.is_file()]
        if not boards:
            raise UserError(f"{folder}: there is no board.yaml")
        found |= dict.fromkeys(boards, upgraded)
        for place in dict.fromkeys([folder, *(path.parent for path in boards)]):
            found |= dict.fromkeys(sorted(place.glob("profiles/*.yaml")), upgraded_profile)
    return found


def _print_rows(rows: Sequence[Sequence[str]], context: Context) -> None:
    for line in columns(rows):
        context.console.print(escape(line))


def _text(value: object) -> str:
    return (
        "-" if value is None else value if isinstance(value, str) and value else json.dumps(value)
    )


def _short(origin: str) -> str:
    return origin.removeprefix(f"{Path.cwd()}/")


def register(verbs: Verbs) -> None:
    """Register the commands."""
    verb = verbs.add(
        "dump",
        dump_spec,
        "show the resolved spec of an image, with the origin of each value",
        group="boards",
        spec=True,
        examples=["dump --board Pynq-Z2", "dump --all --json"],
    )
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb = verbs.add(
        "diff",
        diff,
        "show the differences between two boards or two builds",
        group="boards",
        examples=[
            "diff Pynq-Z2 ZCU111",
            "diff output/Pynq-Z2/manifest.previous.json output/Pynq-Z2",
        ],
    )
    for side in ("left", "right"):
        word = verb.add_argument(
            side, metavar=side.upper(),
            help="name of a board, or a build's manifest.json or its directory",
        )  # fmt: skip
        completed(word, BOARDS_OR_FILES)
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb = verbs.add(
        "validate",
        validate,
        "validate the files of boards without building",
        group="boards",
        examples=["validate", "validate ../my-boards --json"],
    )
    folders = verb.add_argument(
        "directories", nargs="*", metavar="DIR",
        help="directory of a board or of several boards (default: all boards that `boards` lists)",
    )  # fmt: skip
    completed(folders, shtab.DIRECTORY)
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb = verbs.add(
        "upgrade",
        upgrade,
        "convert boards' files to the current format",
        group="boards",
        examples=["upgrade ../my-boards", "upgrade --check ../my-boards/My-Board"],
    )
    folders = verb.add_argument(
        "directories",
        nargs="+",
        metavar="DIR",
        help="directory of a board or of several boards",
    )
    completed(folders, shtab.DIRECTORY)
    verb.add_argument(
        "--check", action="store_true", help="change nothing; exit code 2 if a file is outdated"
    )
