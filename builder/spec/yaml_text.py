# SPDX-License-Identifier: MIT
"""Reading of YAML with limits; the builder reads all YAML with these functions.

A short text can expand to a huge document, because an alias repeats the content of its anchor, and
anchors can contain aliases. The parser's events are therefore counted before any object is created.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import yaml

MOST_BYTES: Final = 1 << 20
"""Maximum bytes of a file. The largest files of boards, Vivado's parameters, have 30,000."""

_MOST_NODES: Final = 20_000
_MOST_DEPTH: Final = 32
"""Maximum number of keys, values and items with aliases expanded, and their maximum depth."""

_LONGEST_NUMBER: Final = 64
_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class LimitError(yaml.MarkedYAMLError):
    """A YAML text exceeds a limit."""

    def __init__(self, problem: str, mark: Any = None) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class _Loader(yaml.CSafeLoader):
    """Constructor of values, with the line of a node in its errors."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - as PyYAML calls it
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise LimitError("is too long for a number; put a text in quotes", node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (LookupError, ArithmeticError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            article = "an" if kind[0] in "aeiou" else "a"
            what = f"{str(node.value)[:80]!r} is not {article} {kind}"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error
        except ValueError as error:  # an invalid number or date
            raise yaml.constructor.ConstructorError(
                None, None, str(error), node.start_mark
            ) from error


def compose(text: str) -> yaml.Node | None:
    """Return the nodes of a text with one document, with their lines; None if it is empty.

    Raises:
        yaml.YAMLError: it is not YAML; or it exceeds a limit (LimitError).
    """
    _check(text)
    return yaml.compose(text, Loader=yaml.CSafeLoader)


def construct(node: yaml.Node) -> Any:
    """Return the data of nodes; the nodes cannot be used afterwards.

    Raises:
        yaml.YAMLError: a value is invalid.
    """
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def load(text: str) -> Any:
    """Return the data of a text with one document.

    Raises:
        yaml.YAMLError: see `compose` and `construct`.
    """
    node = compose(text)
    return None if node is None else construct(node)


@dataclass(kw_only=True)
class _Extent:
    """Size of a node: the numbers of its nodes and of its levels, including itself."""

    anchor: str | None = None
    nodes: int = 1
    levels: int = 1


class _Count:
    """Count of the nodes of a text."""

    def __init__(self) -> None:
        self.open = [_Extent()]  # the document
        self.known: dict[str, _Extent] = {}

    def begin(self, event: yaml.events.CollectionStartEvent) -> None:
        self.open.append(_Extent(anchor=event.anchor))
        self.check(event, levels=0)

    def end(self) -> _Extent:
        extent = self.open.pop()
        if extent.anchor:
            self.known[extent.anchor] = extent
        return extent

    def add(self, event: yaml.events.Event, extent: _Extent) -> None:
        """Add a complete node to its parent."""
        above = self.open[-1]
        above.nodes += extent.nodes
        above.levels = max(above.levels, extent.levels + 1)
        self.check(event, levels=extent.levels)

    def alias(self, event: yaml.events.AliasEvent) -> _Extent:
        if any(each.anchor == event.anchor for each in self.open):
            raise LimitError("an anchor contains itself", event.start_mark)
        return self.known.get(event.anchor or "", _Extent())  # PyYAML reports unknown anchors

    def check(self, event: yaml.events.Event, *, levels: int) -> None:
        if len(self.open) - 1 + levels > _MOST_DEPTH:
            raise LimitError(f"is nested more than {_MOST_DEPTH} deep", event.start_mark)
        if self.open[-1].nodes > _MOST_NODES:
            what = f"has more than {_MOST_NODES} values with aliases expanded"
            raise LimitError(what, event.start_mark)


def _check(text: str) -> None:
    """Raise LimitError for a text that is too large, or would be with its aliases expanded."""
    if len(text) > MOST_BYTES:
        raise LimitError(f"is larger than {MOST_BYTES >> 20} MiB")
    count = _Count()
    for event in _events(text):
        if isinstance(event, yaml.events.CollectionStartEvent):
            count.begin(event)
        elif isinstance(event, yaml.events.CollectionEndEvent):
            count.add(event, count.end())
        elif isinstance(event, yaml.events.AliasEvent):
            count.add(event, count.alias(event))
        elif isinstance(event, yaml.events.ScalarEvent):
            extent = _Extent(anchor=event.anchor)
            if event.anchor:
                count.known[event.anchor] = extent
            count.add(event, extent)


def _events(text: str) -> Iterator[yaml.events.Event]:
    parser = yaml.CSafeLoader(text)
    try:
        while parser.check_event():
            yield cast("yaml.events.Event", parser.get_event())
    finally:
        parser.dispose()
