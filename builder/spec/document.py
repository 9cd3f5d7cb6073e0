# SPDX-License-Identifier: MIT
"""YAML files that know the line of each of their keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys and list indexes from the top, e.g. ("partitions", "boot")."""


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """Something wrong in a file; prints as `path:line: key: what`."""

    path: Path
    line: int
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.key + ': ' if self.key else ''}{self.what}"


class ProblemsError(Exception):
    """A file cannot be used at all; carries the reasons."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class Document:
    """A parsed YAML file: its data, and the line of every key."""

    path: Path
    data: Any
    lines: dict[KeyPath, int]

    def problem(self, where: KeyPath, what: str) -> Problem:
        """Return a problem at a key; of a key that is missing, the line is its parent's."""
        known = where
        while known and known not in self.lines:
            known = known[:-1]
        return Problem(
            path=self.path,
            line=self.lines.get(known, 1),
            key=".".join(str(part) for part in where),
            what=what,
        )


def read(path: Path) -> Document:
    """Read a YAML file with one mapping in it.

    Raises:
        ProblemsError: it is missing, not YAML, not a mapping, or names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        data = yaml.load(text, Loader=yaml.CSafeLoader)
    except OSError as error:
        raise ProblemsError(
            Problem(path=path, line=1, key="", what=f"cannot be read: {error.strerror}")
        ) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or no such date
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        raise ProblemsError(
            Problem(path=path, line=mark.line + 1 if mark else 1, key="", what=f"not YAML: {what}")
        ) from error
    if not isinstance(node, yaml.MappingNode):
        raise ProblemsError(Problem(path=path, line=1, key="", what="must be a mapping of keys"))
    if _is_circular(node, ()):
        raise ProblemsError(Problem(path=path, line=1, key="", what="an anchor holds itself"))
    lines: dict[KeyPath, int] = {}
    twice: list[Problem] = []
    for where, line in _positions(node, ()):
        if where in lines:
            key = ".".join(map(str, where))
            twice.append(
                Problem(path=path, line=line, key=key, what=f"is also on line {lines[where]}")
            )
        lines[where] = line
    if twice:
        raise ProblemsError(*twice)
    return Document(path=path, data=data, lines=lines)


def _is_circular(node: yaml.Node, above: tuple[yaml.Node, ...]) -> bool:
    """Return whether a node has itself among what is below it."""
    if any(node is each for each in above):
        return True
    children = (
        [part for item in node.value for part in item]
        if isinstance(node, yaml.MappingNode)
        else node.value
        if isinstance(node, yaml.SequenceNode)
        else []
    )
    return any(_is_circular(child, (*above, node)) for child in children)


def _positions(node: yaml.Node, where: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    """Yield the line of every key and list item below a node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*where, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _positions(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*where, index)
            yield here, value.start_mark.line + 1
            yield from _positions(value, here)
