# SPDX-License-Identifier: MIT
"""Reader of the properties that available device tree sources set.

A board's tree includes `zynq-7000.dtsi` from the kernel's sources, so it can only be compiled
during a build. The properties that the board's own sources set and delete, with their order and
lines, can be read at any time.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import UserError
from builder.untrusted.reading import plain_file

# Unterminated comments and strings extend to the end of the text, so no search is repeated.
_COMMENT = re.compile(r'"(?:\\.|[^"\\])*(?:"|\\?\Z)|/\*.*?(?:\*/|\Z)|//[^\n]*', re.DOTALL)
_TOKEN = re.compile(
    r"""
      ^[ \t]*(?:\#[ \t]*include[ \t]+|/include/[ \t]*)["<](?P<include>[^">\n]+)[">][ \t]*;?
    | ^[ \t]*\#[ \t]*(?:define|undef|if\w*|elif|else|endif)\b(?:.*\\\n)*.*$
    | (?P<mark>[{};])
    | (?P<text>"(?:\\.|[^"\\])*(?:"|\\?\Z)|[^"{};\n]+|\n)
    """,
    re.MULTILINE | re.VERBOSE,
)
_MAX_BYTES = 1 << 20
_MAX_INCLUDES = 200
_MAX_STATEMENTS = 20_000
"""Limits: bytes of a file, files with all includes, and properties in all of them."""

_LABELS = re.compile(r"^(?:\w+\s*:\s*)+")
_DELETED = re.compile(r"/delete-property/\s*(?P<name>\S+)")
_CELL = re.compile("0[xX][0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,18}")
_SET = re.compile(r"(?:\w+\s*:\s*)*(?P<name>[\w,.+?#-]+)\s*(?:=\s*(?P<value>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A property that a source sets or deletes.

    Attributes:
        node: name of the node in the source, without its parents: `cpu@0`, or a reference such as
            `&cpu0`.
        name: name of the property.
        value: as text; "" for a property without value, None if the property is deleted.
        path: the file.
        line: the line in the file.
    """

    node: str
    name: str
    value: str | None
    path: Path
    line: int


@dataclass(kw_only=True)
class TreeSource:
    """The sources of a device tree.

    Attributes:
        statements: in order; later ones override earlier ones.
        missing: includes that were not found, with file and line of the first one.
    """

    statements: list[Statement] = field(default_factory=list)
    missing: dict[str, tuple[Path, int]] = field(default_factory=dict)

    def last(self, nodes: Sequence[str], name: str) -> Statement | None:
        """Return the last statement about a property of a node with one of these names."""
        found = [each for each in self.statements if each.node in nodes and each.name == name]
        return found[-1] if found else None


def read_sources(path: Path, *, folders: Sequence[Path]) -> TreeSource:
    """Read a device tree source with its includes, which are searched beside it and in `folders`.

    Conditions of the preprocessor are not evaluated: all branches are read.

    Raises:
        UserError: a file cannot be read, or a limit is exceeded.
    """
    found = TreeSource()
    _Reader(found, folders).read(path)
    return found


def numbers(value: str) -> list[int] | None:
    """Return the cells in a property's text; None if it contains expressions or macros."""
    words = re.sub(r"[<>,]", " ", value).split()
    if not all(map(_CELL.fullmatch, words)):
        return None
    cells = [int(word, 0) for word in words]
    return cells if all(cell < 1 << 32 for cell in cells) else None


def without_comments(text: str) -> str:
    """Return a source with comments replaced by blanks, so that positions stay the same."""

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith('"') else re.sub(r"[^\n]", " ", match[0])

    return _COMMENT.sub(blank, text)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


class _Reader:
    """State of `read_sources`. `nodes`: the nodes around the current position."""

    def __init__(self, found: TreeSource, folders: Sequence[Path]) -> None:
        self.found = found
        self.folders = folders
        self.nodes: list[str] = []
        self.open: list[Path] = []
        self.count = 0

    def read(self, path: Path) -> None:
        self.count += 1
        if self.count > _MAX_INCLUDES:
            raise UserError(f"{path}: more than {_MAX_INCLUDES} files include one another")
        self.open.append(path)
        content = plain_file(path, most=_MAX_BYTES)
        text = without_comments(content.decode(errors="replace"))
        lines = [match.start() for match in re.finditer("\n", text)]
        words: list[str] = []
        begin = 0
        for token in _TOKEN.finditer(text):
            if token["include"]:
                self._include(token["include"], path, bisect_left(lines, token.start()) + 1)
            elif token["text"] and (words or token["text"].strip()):
                if not words:
                    begin = token.end() - len(token[0].lstrip())
                words.append(token["text"])
            elif token["mark"]:
                line = bisect_left(lines, begin) + 1
                self._mark(token[0], "".join(words).strip(), path, line)
                words = []
        self.open.pop()

    def _include(self, name: str, path: Path, line: int) -> None:
        places = [folder / name for folder in (path.parent, *self.folders)]
        there = next((place for place in places if _is_file(place)), None)
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
            if len(self.found.statements) > _MAX_STATEMENTS:
                raise UserError(f"{path}: more than {_MAX_STATEMENTS} properties")
