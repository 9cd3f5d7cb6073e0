# SPDX-License-Identifier: MIT
"""Resolved specification as a list of values with their sources, and comparison of two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from builder.spec.document import Document, KeyPath
from builder.spec.resolve import ImageSpec

DEFAULT = "default"
"""Origin of a value that no file sets."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value of a resolved specification, with its dotted key and its source."""

    key: str
    value: Any
    origin: str


def dump(spec: ImageSpec) -> list[Value]:
    """Return all values of a specification: those of the board, then those of each recipe."""
    board = spec.board.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"parameters"}
    )
    found = [*_leaves(board, (), spec.document)]
    for recipe in spec.recipes:
        found.append(
            Value(
                key=f"recipe.{recipe.name}",
                value=recipe.model.summary,
                origin=str(recipe.directory / "recipe.yaml"),
            )
        )
        found += [
            Value(
                key=f"recipe.{recipe.name}.{key}",
                value=value,
                origin=recipe.origins.get(key, DEFAULT),
            )
            for key, value in recipe.public_parameters().items()
        ]
    return found


def _leaves(value: Any, where: KeyPath, document: Document) -> Iterator[Value]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*where, key), document)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, (*where, index), document)
    else:
        origin = document.origin(where) if where in document.places else DEFAULT
        if isinstance(value, str):
            # Show paths as written in the file, relative to its directory.
            value = value.removeprefix(f"{document.place(where).path.parent.absolute()}/")
        yield Value(key=".".join(map(str, where)), value=value, origin=origin)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A key with different values; None if one side lacks the key."""

    key: str
    left: Value | None
    right: Value | None


def differences(left: ImageSpec, right: ImageSpec) -> list[Difference]:
    """Return the differences between two specifications, in the order of the left one's keys."""
    ours = {value.key: value for value in dump(left)}
    theirs = {value.key: value for value in dump(right)}
    return [
        Difference(key=key, left=ours.get(key), right=theirs.get(key))
        for key in dict.fromkeys((*ours, *theirs))
        if key not in ours or key not in theirs or ours[key].value != theirs[key].value
    ]
