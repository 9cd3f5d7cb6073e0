# SPDX-License-Identifier: MIT
"""YAML files with the location of each key, also after a variant is merged into its base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import yaml

from builder.spec import yaml_text
from builder.untrusted.reading import UnreadableError, plain_text

KeyPath: TypeAlias = tuple[str | int, ...]
"""Path of a value: keys and list indexes from the top, e.g. ("partitions", "boot")."""

_CACHED_LENGTH = 16_384
_LONGEST_KEY = 100


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """A problem in a file; its text is `path:line: key: what`."""

    path: Path
    line: int
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.key + ': ' if self.key else ''}{self.what}"


class ProblemsError(Exception):
    """A file cannot be used; `problems` are the reasons."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


class Place(NamedTuple):
    """The location of a value: the file, the line, and the key in that file."""

    path: Path
    line: int
    key: KeyPath


@dataclass(frozen=True, kw_only=True)
class Document:
    """A parsed YAML file: its data, and the location of every key.

    Attributes:
        path: the file.
        data: its content.
        places: location of every key.
        bases: the files into which it was merged, the lowest base first.
        whole: false if it has a base that could not be read.
    """

    path: Path
    data: Any
    places: dict[KeyPath, Place]
    bases: tuple[Path, ...] = ()
    whole: bool = True

    def place(self, where: KeyPath) -> Place:
        """Return the location of a key; a missing key has the file and line of its parent."""
        known = where
        while known and known not in self.places:
            known = known[:-1]
        place = self.places.get(known, Place(self.path, 1, ()))
        return place._replace(key=(*place.key, *where[len(known) :]))

    def problem(self, where: KeyPath, what: str) -> Problem:
        """Return a problem at a key."""
        path, line, key = self.place(where)
        name = ".".join(str(part)[:_LONGEST_KEY] for part in key)
        return Problem(path=path, line=line, key=name, what=what)

    def origin(self, where: KeyPath) -> str:
        """Return the location of a value as `file:line`."""
        path, line, _ = self.place(where)
        return f"{path}:{line}"

    def without(self, key: str) -> Document:
        """Return the document without one of its top-level keys."""
        return replace(
            self,
            data={name: value for name, value in self.data.items() if name != key},
            places={where: place for where, place in self.places.items() if where[0] != key},
        )


def read(path: Path) -> Document:
    """Read a YAML file that contains a mapping.

    Raises:
        ProblemsError: it is missing, not a regular file, not YAML, exceeds a limit of `yaml_text`,
            is not a mapping, or has a duplicate key.
    """
    try:
        text = plain_text(path, most=yaml_text.MOST_BYTES)
        # Large files are not cached, to limit memory.
        parse = _parsed if len(text) <= _CACHED_LENGTH else _parsed.__wrapped__
        parsed = parse(path, text)
    except UnreadableError as error:
        raise ProblemsError(Problem(path=path, line=1, key="", what=error.reason)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        if not isinstance(error, yaml_text.LimitError):
            what = f"not YAML: {what}"
        raise ProblemsError(
            Problem(path=path, line=mark.line + 1 if mark else 1, key="", what=what)
        ) from error
    return replace(parsed, data=deepcopy(parsed.data), places={**parsed.places})


@lru_cache(maxsize=256)
def _parsed(path: Path, text: str) -> Document:
    """Parse the text of a file; cached, because every board's Reader reads the same recipes."""
    node = yaml_text.compose(text)
    if not isinstance(node, yaml.MappingNode):
        raise ProblemsError(Problem(path=path, line=1, key="", what="must be a mapping of keys"))
    places: dict[KeyPath, Place] = {}
    twice: list[Problem] = []
    for where, line in _positions(node, ()):
        if where in places:
            key, first = ".".join(map(str, where)), places[where].line
            twice.append(Problem(path=path, line=line, key=key, what=f"is also on line {first}"))
        places[where] = Place(path, line, where)
    if twice:
        raise ProblemsError(*twice)
    return Document(path=path, data=yaml_text.construct(node), places=places)


def merged(base: Document, variant: Document) -> Document:
    """Merge a document into its base.

    Mappings are merged key by key, at all depths. A list under `KEY+` is appended to the base's list
    KEY, which may be missing. Any other value replaces the base's. Every value keeps its location.
    """
    places = dict(base.places)
    of_base, of_variant = _Below(base.places), _Below(variant.places)

    def merge(below: Mapping[Any, Any], above: Mapping[Any, Any], where: KeyPath) -> dict[Any, Any]:
        result = dict(below)
        for key, value in above.items():
            here, old = (*where, str(key)), below.get(key)
            if isinstance(value, dict) and isinstance(old, dict | None):
                result[key] = merge(old or {}, value, here)
                places[here] = variant.place(here)
            elif _adds(key, above, below):
                name = key.removesuffix("+")
                there, items = (*where, name), below.get(name) or []
                result[name] = [*items, *value]
                places.setdefault(there, variant.place(here))
                for index in range(len(value)):
                    item = (*there, len(items) + index)
                    places.update(of_variant.moved((*here, index), item))
            else:
                result[key] = value
                for each in of_base.keys(here):
                    places.pop(each, None)
                places[here] = variant.place(here)
                places.update(of_variant.moved(here, here))
        return result

    return Document(
        path=variant.path,
        data=merge(base.data, variant.data, ()),
        places=places,
        bases=(*base.bases, base.path),
        whole=base.whole and variant.whole,
    )


def _adds(key: Any, above: Mapping[Any, Any], below: Mapping[Any, Any]) -> bool:
    """Return whether a key of the upper mapping appends a list to one of the lower mapping."""
    name = str(key).removesuffix("+")
    return (
        name != str(key)
        and name not in above
        and isinstance(above[key], list)
        and isinstance(below.get(name), list | None)
    )


class _Below:
    """Index of a document's keys by their parent."""

    def __init__(self, places: Mapping[KeyPath, Place]) -> None:
        self._places = places
        self._inside: dict[KeyPath, list[KeyPath]] = {}
        for key in places:
            self._inside.setdefault(key[:-1], []).append(key)

    def keys(self, where: KeyPath) -> Iterator[KeyPath]:
        """Yield a key, if it exists, and all keys below it."""
        if where in self._places:
            yield where
        for key in self._inside.get(where, ()):
            yield from self.keys(key)

    def moved(self, where: KeyPath, target: KeyPath) -> dict[KeyPath, Place]:
        """Return the locations of a key and of all keys below it, moved to another key."""
        depth = len(where)
        return {(*target, *key[depth:]): self._places[key] for key in self.keys(where)}


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
