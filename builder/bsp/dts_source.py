# SPDX-License-Identifier: MIT
"""The properties that the sources of a device tree set, as far as the sources are there.

A board's tree includes `zynq-7000.dtsi`, which is in the kernel's sources, so it can only be compiled
in a build. Which properties the board's own sources set and delete, in which order and in which
lines, can be read at any time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|/\*.*?\*/|//[^\n]*', re.DOTALL)
_TOKEN = re.compile(
    r"""
      ^[ \t]*(?:\#[ \t]*include[ \t]+|/include/[ \t]*)["<](?P<include>[^">\n]+)[">][ \t]*;?
    | ^[ \t]*\#[ \t]*(?:define|undef|if\w*|elif|else|endif)\b(?:.*\\\n)*.*$
    | (?P<mark>[{};])
    | (?P<text>"(?:\\.|[^"\\])*"|[^"{};\n]+|\n)
    """,
    re.MULTILINE | re.VERBOSE,
)
_LABELS = re.compile(r"^(?:\w+\s*:\s*)+")
_DELETED = re.compile(r"/delete-property/\s*(?P<name>\S+)")
_SET = re.compile(r"(?:\w+\s*:\s*)*(?P<name>[\w,.+?#-]+)\s*(?:=\s*(?P<value>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A property that a source sets or deletes.

    node: name of the node as the source has it, without what it is in: `cpu@0`, or a reference such
    as `&cpu0`. value: as text; "" of a property without one, None if the property is deleted.
    """

    node: str
    name: str
    value: str | None
    path: Path
    line: int


@dataclass(kw_only=True)
class TreeSource:
    """The sources of a device tree.

    statements: in the order in which they count. missing: includes that are not there, with file
    and line of the first one.
    """

    statements: list[Statement] = field(default_factory=list)
    missing: dict[str, tuple[Path, int]] = field(default_factory=dict)

    def last(self, nodes: Sequence[str], name: str) -> Statement | None:
        """Return the statement that counts about a property of a node with one of these names."""
        found = [each for each in self.statements if each.node in nodes and each.name == name]
        return found[-1] if found else None


def read_sources(path: Path, *, folders: Sequence[Path]) -> TreeSource:
    """Read a device tree's source, with what it includes from beside it and from other directories.

    Conditions of the preprocessor are not evaluated: all branches count.
    """
    found = TreeSource()
    _Reader(found, folders).read(path)
    return found


def numbers(value: str) -> list[int] | None:
    """Return the numbers in a property's text; None if there are expressions or macros in it."""
    try:
        return [int(word, 0) for word in re.sub(r"[<>,]", " ", value).split()]
    except ValueError:
        return None


def without_comments(text: str) -> str:
    """Return a source in which comments are blanks; positions stay."""

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith('"') else re.sub(r"[^\n]", " ", match[0])

    return _COMMENT.sub(blank, text)


class _Reader:
    """The work of `read_sources`. `nodes`: those around the place that is being read."""

    def __init__(self, found: TreeSource, folders: Sequence[Path]) -> None:
        self.found = found
        self.folders = folders
        self.nodes: list[str] = []
        self.open: list[Path] = []

    def read(self, path: Path) -> None:
        self.open.append(path)
        text = without_comments(path.read_text(encoding="utf-8", errors="replace"))
        words, begin = "", 0
        for token in _TOKEN.finditer(text):
            if token["include"]:
                self._include(token["include"], path, text.count("\n", 0, token.start()) + 1)
            elif token["text"]:
                if not words.strip():
                    words, begin = "", token.end() - len(token[0].lstrip())
                words += token["text"]
            elif token["mark"]:
                self._mark(token[0], words.strip(), path, text.count("\n", 0, begin) + 1)
                words = ""
        self.open.pop()

    def _include(self, name: str, path: Path, line: int) -> None:
        places = [folder / name for folder in (path.parent, *self.folders)]
        there = next((place for place in places if place.is_file()), None)
        if there is None:
            self.found.missing.setdefault(name, (path, line))
        elif there not in self.open:
            self.read(there)

    def _mark(self, mark: str, words: str, path: Path, line: int) -> None:
        if mark == "{":
            self.nodes.append(_LABELS.sub("", words))
        elif mark == "}":
            del self.nodes[-1:]
        elif self.nodes and (found := _DELETED.fullmatch(words) or _SET.fullmatch(words)):
            deleted = found.re is _DELETED
            value = None if deleted else (found["value"] or "").strip()
            statement = Statement(
                node=self.nodes[-1], name=found["name"], value=value, path=path, line=line
            )
            self.found.statements.append(statement)
