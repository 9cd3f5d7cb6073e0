# SPDX-License-Identifier: MIT
"""Commands that look at specifications and builds, and change nothing of an image."""

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
from builder.cli.context import ROOT, Context, print_json, typed
from builder.cli.options import BOARDS_OR_FILES, Verbs, completed
from builder.cli.planning import resolved
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
    """Print what boards' images are to be, each value with where it is from."""
    specs = resolved(arguments, context)
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
    """Print what differs between two boards, or between two builds."""
    sides = (arguments.left, arguments.right)
    manifests = [path for path in map(_manifest, sides) if path]
    if len(manifests) == 1:
        raise UserError(
            f"{' and '.join(sides)}: one is a build, the other is not",
            hint=f"give two boards, or two {_MANIFEST} (or directories that hold one)",
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
    """Return the manifest that a word of the command line means; None if it is a board's name."""
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
            f"{path}: not the manifest of a build", hint=f"a build writes it as {_MANIFEST}"
        )
    return manifest


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Result of a check of a board's files. Warnings alone do not fail it.

    No board: it is of recipes and profiles that boards share, and `file` is the directory of them.
    """

    board: str | None
    file: Path
    problems: Sequence[Problem]
    warnings: Sequence[str]


def validate(arguments: argparse.Namespace, context: Context) -> int:
    """Check the files of boards, without building anything."""
    names, tree, shared = _boards_in([Path(word) for word in arguments.directories], context)
    verdicts = [_judge(tree, name) for name in names]
    verdicts += _judge_shared(tree, shared, verdicts)
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
    """Return the boards that directories hold, or are, and a tree that has them.

    With them come the directories whose recipes and profiles are for all their boards.

    Raises:
        UserError: a directory holds none.
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
                f"{given}: there is no board", hint="a board is a directory with a board.yaml in it"
            )
        names += own
        outer.append(parent)
        shared += [folder] if folder == parent else []
    tree = SpecTree(root=ROOT, boards_dirs=tuple(dict.fromkeys((*context.boards_dirs, *outer))))
    return [*dict.fromkeys(names)], tree, [*dict.fromkeys(shared)]


def _judge(tree: SpecTree, name: str) -> Verdict:
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
            f"board.yaml does not say which format it is written in: `format: {FORMAT}`, or "
            f"{typed('upgrade', os.path.relpath(file.parent))}"
        )
    unusable = [reason for each in spec.distributions if (reason := spec.unusable(each))]
    warnings += unusable
    if len(unusable) == len(spec.distributions):
        problems.append(spec.document.problem(("distro",), "none of these can be used"))
    if not any((folder / "tests").is_dir() for folder in spec.directories):
        warnings.append("there are no checks of the board's own: a directory tests/")
    return Verdict(board=name, file=file, problems=problems, warnings=warnings)


def _judge_shared(
    tree: SpecTree, folders: Sequence[Path], of_boards: Sequence[Verdict]
) -> Iterator[Verdict]:
    """Judge recipes and profiles that boards share; only what no board's verdict says is said."""
    said = {problem for verdict in of_boards for problem in verdict.problems}
    boards = [path.parent for path in tree.board_files().values()]
    for folder in folders:
        found = {*problems_of_shared(tree, folder, boards)} - said
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
    """Bring boards' files to the format that this builder reads: all of them, or none."""
    outdated: dict[Path, str] = {}
    for path, bring in _upgrades(arguments.directories).items():
        before = plain_text(path, most=MOST_BYTES)
        try:
            text, notes = bring(before)
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
    """Return the files of boards and profiles that directories hold, with what upgrades each.

    Raises:
        UserError: a directory is no board's, and holds none.
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


def declare(verbs: Verbs) -> None:
    """Declare the commands of this module."""
    verb = verbs.add(
        "dump", dump_spec, "show what an image is to be, and where each value is from",
        spec=True,
    )  # fmt: skip
    verb.add_argument("--json", action="store_true", help="as JSON, for programs")
    verb = verbs.add("diff", diff, "show what differs between two boards, or two builds")
    for side in ("left", "right"):
        word = verb.add_argument(
            side, metavar=side.upper(),
            help="a board's name, or a build's manifest.json or the directory that holds it",
        )  # fmt: skip
        completed(word, BOARDS_OR_FILES)
    verb.add_argument("--json", action="store_true", help="as JSON, for programs")
    verb = verbs.add("validate", validate, "check the files of boards; builds nothing")
    folders = verb.add_argument(
        "directories", nargs="*", metavar="DIR",
        help="a board's directory, or one that holds boards (default: all that `boards` lists)",
    )  # fmt: skip
    completed(folders, shtab.DIRECTORY)
    verb.add_argument("--json", action="store_true", help="as JSON, for programs")
    verb = verbs.add(
        "upgrade", upgrade, "bring boards' files to the format that this builder reads"
    )
    folders = verb.add_argument(
        "directories",
        nargs="+",
        metavar="DIR",
        help="a board's directory, or one that holds boards",
    )
    completed(folders, shtab.DIRECTORY)
    verb.add_argument(
        "--check", action="store_true", help="change nothing; exit code 2 if there is work to do"
    )
