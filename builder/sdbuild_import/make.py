# SPDX-License-Identifier: MIT
"""Reader of variable assignments in makefiles, as far as sdbuild's board specifications need it.

See GNU make's manual, "How to Use Variables". Conditionals, includes, rules and functions are not
evaluated, but listed for the user.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import UserError
from builder.untrusted.reading import plain_text

_ASSIGNMENT = re.compile(
    r"(?P<words>(?:(?:export|override|private)\s+)*)(?P<name>[^\s:#=+?!()$]+)\s*"
    r"(?P<operator>::?:?=|\+=|\?=|!=|=)(?P<value>.*)",
    re.DOTALL,
)
_REFERENCE = re.compile(r"\$(?:\(([^()]*)\)|\{([^{}]*)\}|(.))", re.DOTALL)
_MAX_BYTES = 1 << 20
_MAX_EXPANDED = 1_000_000
_MAX_NESTED = 50
_CONDITIONS = ("ifeq", "ifneq", "ifdef", "ifndef")


@dataclass(frozen=True, kw_only=True)
class UnsupportedLine:
    """A construct in a makefile that this reader does not support."""

    line: int
    what: str


@dataclass(kw_only=True)
class Variable:
    """A variable: its value with references expanded, and the lines that assign it."""

    value: str
    lines: list[int]
    simple: bool
    """Whether references are expanded on assignment (`:=`), not on use."""


@dataclass(kw_only=True)
class Makefile:
    """The variables of a makefile by name, and unsupported constructs.

    `used` are the variables that others refer to, `left` is the remaining number of characters for
    expansions.
    """

    variables: dict[str, Variable] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    unsupported: list[UnsupportedLine] = field(default_factory=list)
    left: int = _MAX_EXPANDED


def read_makefile(path: Path) -> Makefile:
    """Read the assignments of a makefile.

    Raises:
        UserError: it cannot be read, or the expansion of a variable is too large.
    """
    text = plain_text(path, most=_MAX_BYTES)
    try:
        return parse(text)
    except UserError as error:
        raise UserError(f"{path}: {error.message}") from error


def parse(text: str) -> Makefile:
    """Return the assignments in the text of a makefile.

    Raises:
        UserError: the expansion of a variable is too large.
    """
    found = Makefile()
    depth, definition = 0, False
    for number, line in _logical_lines(text):
        words = line.split()
        if definition:
            definition = words[:1] != ["endef"]
        elif not words:
            continue
        elif words[0] == "define":
            found.unsupported.append(
                UnsupportedLine(line=number, what=f"`{line.strip()}`: a macro")
            )
            definition = True
        elif words[0].partition("(")[0] in _CONDITIONS:
            depth += 1
            found.unsupported.append(_unsupported(number, line, "a condition"))
        elif words[0] in ("else", "endif"):
            depth -= words[0] == "endif"
        elif depth > 0:
            found.unsupported.append(_unsupported(number, line, "depends on a condition"))
        elif words[0] in ("include", "-include", "sinclude"):
            found.unsupported.append(_unsupported(number, line, "another file"))
        elif words[0] == "export" and len(words) > 1 and "=" not in line:
            continue  # exports variables that are set elsewhere
        else:
            _statement(found, number, line)
    for variable in found.variables.values():
        if not variable.simple:
            variable.value = _expanded(found, variable.value, variable.lines[-1])
        variable.value = variable.value.strip()
    return found


def _statement(found: Makefile, number: int, line: str) -> None:
    match = _ASSIGNMENT.fullmatch(line.strip())
    if match is None:
        found.unsupported.append(_unsupported(number, line, "not an assignment"))
        return
    name, operator, value = match["name"], match["operator"], match["value"].strip()
    old = found.variables.get(name)
    if operator == "!=":
        found.unsupported.append(_unsupported(number, line, "a command's output"))
    elif operator == "?=" and old:
        return
    elif operator == "+=" and old:
        if old.simple:
            value = _expanded(found, value, number)
        old.value = f"{old.value} {value}"
        old.lines.append(number)
    else:
        simple = ":" in operator
        if simple:
            value = _expanded(found, value, number)
        found.variables[name] = Variable(value=value, lines=[number], simple=simple)


def _expanded(found: Makefile, value: str, line: int, trail: tuple[str, ...] = ()) -> str:
    """Return a value with references to the makefile's variables expanded."""

    def replaced(match: re.Match[str]) -> str:
        name = next(group for group in match.groups() if group is not None).strip()
        if match[3] == "$":
            return "$"
        variable = found.variables.get(name)
        if variable is None or name in trail:
            why = "is not set here" if variable is None else "refers to itself"
            why = "is a function of make" if " " in name else why
            unsupported = UnsupportedLine(line=line, what=f"`{match[0]}` {why}")
            if unsupported not in found.unsupported:
                found.unsupported.append(unsupported)
            return match[0]
        found.used.add(name)
        found.left -= len(variable.value) + 1
        if found.left < 0 or len(trail) > _MAX_NESTED:
            raise UserError(f"line {line}: the expansion of {name[:80]} is too large")
        if variable.simple:
            return variable.value
        return _expanded(found, variable.value, line, (*trail, name))

    return _REFERENCE.sub(replaced, value)


def _unsupported(number: int, line: str, what: str) -> UnsupportedLine:
    return UnsupportedLine(line=number, what=f"`{' '.join(line.split())}`: {what}")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines without comments, with continuation lines joined, and their first line number."""
    begun: list[str] = []
    first = 1
    for number, raw in enumerate(text.splitlines(), 1):
        if not begun:
            first = number
        if re.search(r"(?<!\\)(?:\\\\)*\\$", raw):
            begun.append(raw[:-1].strip())
            continue
        yield first, _without_comment(" ".join([*begun, raw.strip()]))
        begun = []
    if begun:
        yield first, _without_comment(" ".join(begun))


def _without_comment(line: str) -> str:
    return re.sub(r"(?<!\\)#.*", "", line).replace("\\#", "#")
