# SPDX-License-Identifier: MIT
"""Writer of readable device tree sources."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_WIDTH = 90
_LONGEST_NAME = 31
"""Maximum number of characters in a node's name (Devicetree Specification 0.4, 2.2.1)."""


@dataclass(kw_only=True)
class Node:
    """A node of a device tree source.

    Attributes:
        head: `label: name@address`, or a reference (`&uart0`).
        lines: properties in source form, without the semicolon.
        children: nodes in this one.
        comment: text of a comment before the node.
    """

    head: str
    lines: list[str] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)
    comment: str = ""

    def render(self, depth: int = 0) -> str:
        """Return the node's source."""
        return "\n".join(self.source(depth)) + "\n"

    def source(self, depth: int) -> Iterator[str]:
        """Yield the lines of the node's source, indented by a number of tabs."""
        indent = "\t" * depth
        if self.comment:
            yield from comment(self.comment, depth)
        yield f"{indent}{self.head} {{"
        for line in self.lines:
            yield f"{indent}\t{line};"
        for index, child in enumerate(self.children):
            if index or self.lines:
                yield ""
            yield from child.source(depth + 1)
        yield f"{indent}}};"


def comment(text: str, depth: int = 0) -> Iterator[str]:
    """Yield the lines of a comment; paragraphs are separated by empty lines."""
    indent = "\t" * depth
    width = _WIDTH - 8 * depth
    paragraphs = text.replace("*/", "* /").split("\n\n")
    if len(paragraphs) == 1 and len(text) <= width:
        yield f"{indent}/* {text.replace('*/', '* /')} */"
        return
    yield f"{indent}/*"
    for index, paragraph in enumerate(paragraphs):
        if index:
            yield f"{indent} *"
        for line in textwrap.wrap(" ".join(paragraph.split()), width, break_on_hyphens=False):
            yield f"{indent} * {line}"
    yield f"{indent} */"


def text(value: str) -> str:
    """Return a string literal for a source."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def cells(numbers: Iterable[int | str]) -> str:
    """Return numbers and references as a list of cells."""
    return f"<{' '.join(each if isinstance(each, str) else hex(each) for each in numbers)}>"


def wide(number: int, count: int) -> list[int]:
    """Return a number as a number of 32-bit cells, the highest first."""
    return [(number >> (32 * each)) & 0xFFFFFFFF for each in reversed(range(count))]


def name_of(instance: str) -> str:
    """Return a node name derived from the name of a block."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", instance).strip("-").lower() or "block"
    if not name[0].isalpha():
        name = f"b-{name}"
    return name[:_LONGEST_NAME].rstrip("-")


def label_of(instance: str) -> str:
    """Return a label derived from the name of a block, distinct from the processing system's."""
    return "pl_" + re.sub(r"\W", "_", instance, flags=re.ASCII)
