# SPDX-License-Identifier: MIT
"""Targets that read specifications: boards, recipes, profiles, distributions, settings, options."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from builder.bsp.ps7.cpu_clock_check import problems_of
from builder.cli import settings
from builder.cli.main import main, parsers
from builder.python_lock.lock import read_lock
from builder.spec.dump import dump
from builder.spec.reader import SpecTree
from builder.spec.resolve import ImageSpec, resolve
from builder.spec.texts import FileName
from builder.spec.unused import problems_of_board, problems_of_shared
from builder.spec.upgrade import upgraded, upgraded_profile
from builder.spec.values import parse_setting
from tests.fixtures.specs import BOARD, DISTRIBUTION
from tests.fuzz.judging import ROOT, AcceptedError, Target
from tests.fuzz.mutation import Mutation, as_bytes, is_path, of_files, of_lines, of_yaml

_BOARD_FILE = "boards/B/board.yaml"
_FILES: Mapping[str, str] = {
    _BOARD_FILE: f"{BOARD}recipes: [b]\nparameters: {{a: {{word: x}}}}\npartitions: {{boot: 64M}}\n",
    "boards/B/b.dts": "",
    "boards/B/BOOT.BIN": "",
    "profiles/p.yaml": "summary: p\nextends: q\nrecipes: [a]\nparameters: {a: {number: 2}}\n",
    "profiles/q.yaml": "summary: q\nrecipes: [b]\n",
    "recipes/a/recipe.yaml": "summary: a\nparameters:\n"
    "  word: {summary: a word, type: word, default: w}\n"
    "  line: {summary: a line, type: line, default: l}\n"
    "  number: {summary: a number, default: 1}\n"
    "  switch: {summary: a switch, default: true}\n"
    "  list: {summary: words, type: word, default: [one]}\n",
    "recipes/b/recipe.yaml": "summary: b\nrequires: [a]\napt: {all: [one, two]}\n",
    "distributions/one.yaml": DISTRIBUTION,
    "local.yaml": "mirrors: {one: {main: 'http://mirror.invalid/other'}}\n"
    "parameters: {a: {line: mine}}\n",
}


def _tree() -> list[bytes]:
    return [json.dumps(_FILES, indent=1).encode()]


def _write(data: bytes, folder: Path) -> None:
    """Write the files that an input is, and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        files = json.loads(data)
    except (ValueError, RecursionError):
        return
    for name, content in files.items() if isinstance(files, dict) else ():
        if not is_path(name) or not isinstance(content, str):
            continue
        path = folder / name.strip("/")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(as_bytes(content))


def _resolved(data: bytes, scratch: Path) -> None:
    """Do what `validate` and `dump` do."""
    root = scratch / "tree"
    _write(data, root)
    tree = SpecTree(root=root)
    for name in tree.board_files():
        problems_of_board(tree, name)
        _judged(resolve(tree, name), root)
    problems_of_shared(tree, root, [path.parent for path in tree.board_files().values()])


def _judged(spec: ImageSpec, root: Path) -> None:
    problems_of(spec)
    for value in dump(spec):
        texts = value.value if isinstance(value.value, list) else [value.value]
        for text in filter(lambda each: isinstance(each, str), texts):
            if "\n" in text and "summary" not in value.key:
                raise AcceptedError(f"{value.key} has several lines: {text!r}")
            if isinstance(text, FileName) and not (spec.directory / text).resolve().is_relative_to(
                root
            ):
                raise AcceptedError(f"{value.key} leads out: {text}")
    for distribution in spec.distributions:
        spec.unusable(distribution)


def _outside(data: bytes, scratch: Path) -> None:
    """Do what the commands themselves do with a directory of boards."""
    folder = scratch / "outer"
    _write(data, folder)
    for words in (
        ["validate", "--json", str(folder / "boards")],
        ["dump", "--json", "--board", "B", "--boards-dir", str(folder / "boards")],
    ):
        before = signal.getsignal(signal.SIGTERM), os.umask(0o022)
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                status = main(words)
        finally:  # what it leaves to the process
            signal.signal(signal.SIGTERM, before[0])
            os.umask(before[1])
        if status not in (0, 2):
            raise AcceptedError(f"{words[0]}: exit status {status}")


def _variants() -> list[bytes]:
    files = {
        _BOARD_FILE: "format: 2\nboard: B\nsummary: b\nextends: Pynq-Z2\nmemory: 1G\nrecipes+: [c]\n"
        "parameters: {c: {word: x}}\n",
        "boards/recipes/c/recipe.yaml": _FILES["recipes/a/recipe.yaml"],
    }
    return [json.dumps(files, indent=1).encode()]


def _one(name: str) -> Mutation:
    """Return the mutation of one file of the tree."""

    def mutation(random: Random, data: bytes) -> bytes:
        try:
            files = json.loads(data)
            text = as_bytes(files[name])
        except (ValueError, LookupError, TypeError, AttributeError):
            return of_files(random, data)  # an earlier change has left no such file
        changed = of_yaml(random, text)
        files[name] = changed.decode(errors="surrogateescape")
        return json.dumps(files, indent=1).encode()

    return mutation


def _command_lines() -> list[bytes]:
    return [
        b"build\n--board\nB\n--set\na.word=x",
        b"dump\n--board\nB\n--json",
        b"flash\n--board\nB\n/dev/x\n--yes",
        b"build\n--all\n--boards-dir\nx\n--store-size\n10G\n--progress\nplain",
        b"customize\nx.img\n-o\ny.img\n--package\nvim\n--set\nwifi.password=y",
    ]


def _command_line(data: bytes, _: Path) -> None:
    """Parse a command line, a word a line."""
    words = data.decode(errors="surrogateescape").replace("\0", "").split("\n")
    parser, _verbs = parsers()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        arguments = parser.parse_args(words)
    for text in settings.given(getattr(arguments, "settings", None) or ()):
        parse_setting(text)


def _files_of(pattern: str, count: int) -> Sequence[bytes]:
    return [path.read_bytes() for path in sorted(ROOT.glob(pattern))[:count]]


def _upgrade(data: bytes, _: Path) -> None:
    text = data.decode(errors="replace")
    upgraded(text)
    upgraded_profile(text)


def _lock(data: bytes, scratch: Path) -> None:
    path = scratch / "lock.txt"
    path.write_bytes(data)
    read_lock(path)


TARGETS = (
    *(
        Target(name=name, seeds=_tree, mutation=_one(file), run=_resolved, examples=12)
        for name, file in (
            ("board", _BOARD_FILE),
            ("recipe", "recipes/a/recipe.yaml"),
            ("profile", "profiles/p.yaml"),
            ("distribution", "distributions/one.yaml"),
            ("local", "local.yaml"),
        )
    ),
    Target(name="spec-tree", seeds=_tree, mutation=of_files, run=_resolved, examples=12),
    Target(name="validate", seeds=_variants, mutation=of_files, run=_outside, examples=2),
    Target(
        name="command-line",
        seeds=_command_lines,
        mutation=of_lines,
        run=_command_line,
        allowed=(SystemExit,),
    ),
    Target(
        name="upgrade",
        seeds=lambda: _files_of("boards/*/board.yaml", 3),
        mutation=of_yaml,
        run=_upgrade,
    ),
    Target(
        name="lock-file",
        seeds=lambda: _files_of("recipes/*/requirements/*.txt", 1),
        mutation=of_lines,
        run=_lock,
        allowed=(UnicodeDecodeError,),
    ),
)
