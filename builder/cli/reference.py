# SPDX-License-Identifier: MIT
"""The pages of the documentation that are made from the program itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from builder.cli.context import ROOT, Context
from builder.cli.options import Verbs
from builder.spec import parity
from builder.spec.reader import Reader, SpecTree
from builder.spec.recipe import SECRET, Listener, Recipe
from builder.spec.reference import reference
from builder.spec.schemas import KINDS, json_schema

_MADE = "Made by `make schemas`; do not edit."


def pages(verbs: Verbs) -> Mapping[str, Callable[[], str]]:
    """Return what makes each page, by its file's name in docs/."""
    return {
        "reference.md": reference,
        "commands.md": lambda: _text(_commands(verbs)),
        "parity.md": lambda: parity.page(SpecTree(root=ROOT)),
        "recipes.md": lambda: _text(_recipes(SpecTree(root=ROOT))),
        "ports.md": lambda: _text(_ports(SpecTree(root=ROOT))),
        **{f"schemas/{kind}.schema.json": partial(_schema, kind) for kind in KINDS},
    }


def write_pages(verbs: Verbs, arguments: argparse.Namespace, context: Context) -> int:
    """Write the schemas and the pages of the reference."""
    for name, make in pages(verbs).items():
        path = Path(arguments.directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make())
    return 0


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def _schema(kind: str) -> str:
    return json.dumps(json_schema(kind), indent=2) + "\n"


def _commands(verbs: Verbs) -> Iterator[str]:
    yield from ("# Commands", "", _MADE, "")
    yield "Without a command, `build.py --board NAME` builds. Options may stand before the command."
    for name, verb in verbs.parsers.items():
        yield from ("", f"## `build.py {name}`", "", f"{verb.description}")
        options = _options(verb)
        taken = {
            title: rows
            for title, group in _TITLES.items()
            if {*(rows := _options(verbs.shared[group]))} <= {*options}
        }
        shared = {row for rows in taken.values() for row in rows}
        own = [row for row in options if row not in shared]
        takes = " and ".join(f"the [{title}](#{title.replace(' ', '-')})" for title in taken)
        if own:
            yield from ("", *_TABLE, *own)
        yield from ("", f"It takes {takes}.")
    for title, group in _TITLES.items():
        yield from ("", f"## {title[0].upper()}{title[1:]}", "", *_TABLE)
        yield from _options(verbs.shared[group])


_TITLES = {"options of images": 0, "options of all commands": 1}
_TABLE = ("| option | what it does |", "|---|---|")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """Return a parser's options as rows of a table."""
    found: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        if action.dest == "help" or action.help == argparse.SUPPRESS:
            continue
        value = action.metavar or (
            "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest
        )
        words = ", ".join(action.option_strings) or str(value)
        if action.option_strings and action.nargs != 0:
            words += f" {value}"
        formatter = argparse.HelpFormatter("")
        text = formatter._expand_help(action) if action.help else ""  # noqa: SLF001
        found.append(f"| `{words}` | {text.replace('|', chr(92) + '|')} |")
    return found


def _recipes(tree: SpecTree) -> Iterator[str]:
    reader = Reader()
    yield from ("# Recipes", "", _MADE, "")
    yield "What is in which profile, and what can be set: in `board.yaml`, in `local.yaml`, or by"
    yield "`--set RECIPE.PARAMETER=VALUE`."
    for name, file in tree.profile_files().items():
        profile = reader.profile(file)
        if profile:
            base = [f"all of `{profile.extends}`"] if profile.extends else []
            listed = ", ".join([*base, *(f"[{each}](#{each})" for each in profile.recipes)])
            yield from (
                "",
                f"**Profile `{name}`**: {profile.summary}. {listed[0].upper()}{listed[1:]}.",
            )
    for name, file in sorted(tree.recipe_files().items()):
        recipe = reader.recipe(file)
        if recipe:
            yield from ("", f"## {name}", "", f"{recipe.summary}.", *_recipe(recipe))
    reader.raise_problems()


def _recipe(recipe: Recipe) -> Iterator[str]:
    if recipe.requires:
        yield from ("", f"Requires {', '.join(f'[{each}](#{each})' for each in recipe.requires)}.")
    if recipe.parameters:
        yield from ("", "| parameter | default | what it is |", "|---|---|---|")
    for key, parameter in recipe.parameters.items():
        default = SECRET if parameter.secret else f"`{json.dumps(parameter.default)}`"
        yield f"| `{key}` | {default} | {parameter.summary} |"


_PORTS = """\
What listens on a board, and the recipe that brings it: a board without the recipe does not listen
there. Nothing filters packets: a port can be reached from every network that the board is in. A check
of the booted board fails if anything else listens;
[recipes of one's own](porting.md#ports) say where theirs do."""


def _ports(tree: SpecTree) -> Iterator[str]:
    reader = Reader()
    recipes = {name: reader.recipe(file) for name, file in sorted(tree.recipe_files().items())}
    reader.raise_problems()
    found = sorted(
        (
            (name, recipe, each)
            for name, recipe in recipes.items()
            if recipe
            for each in recipe.listens
        ),
        key=lambda row: (_default_port(row[1], row[2]) or _LAST, row[2].protocol, row[0]),
    )
    yield from ("# Ports", "", _MADE, "", _PORTS)
    for title, loopback in (("From the network", False), ("From the board alone", True)):
        yield from ("", f"## {title}", "", *_PORTS_TABLE)
        for name, recipe, each in found:
            if each.loopback == loopback:
                port = f"{_default_port(recipe, each) or 'any'}"
                port += f" (`{name}.{each.port}`)" if isinstance(each.port, str) else ""
                yield (
                    f"| {port} | {each.protocol} | {each.program} | [{name}](recipes.md#{name}) "
                    f"| {each.who} | {each.switch_off} |"
                )


_PORTS_TABLE = (
    "| port | protocol | program | recipe | who may use it | how it is switched off |",
    "|---|---|---|---|---|---|",
)
_LAST = 1 << 16


def _default_port(recipe: Recipe, listener: Listener) -> int | None:
    return listener.number({key: each.default for key, each in recipe.parameters.items()})


def declare(verbs: Verbs) -> None:
    """Declare the command of this module."""
    verb = verbs.add(
        "schemas",
        lambda arguments, context: write_pages(verbs, arguments, context),
        "write the JSON Schemas and the pages of the reference",
    )
    verb.add_argument("directory", nargs="?", default="docs", help="default: %(default)s")
