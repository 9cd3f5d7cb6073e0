# SPDX-License-Identifier: MIT
"""State of an import: source files, generated files, report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from builder.errors import UserError
from builder.sdbuild_import.report import Outcome, Report
from builder.spec.models import Soc
from builder.spec.reader import SpecTree
from builder.untrusted.reading import plain_file

LFS = b"version https://git-lfs.github.com/spec/"
"""First bytes of a pointer file of Git LFS."""

_MAX_FILES = 50_000
_MAX_TEXT = 1 << 20

_HIDDEN = {".git", "__pycache__", ".ipynb_checkpoints"}


@dataclass(kw_only=True)
class Draft:
    """A board during its import.

    Attributes:
        name: name of the board.
        source: directory of the sdbuild board.
        directory: directory for the result.
        tree: the specifications of this repository.
        report: report of the import.
        soc: the SoC family.
        keys: content of board.yaml.
        files: all files of the source; like sdbuild, this follows links to directories.
    """

    name: str
    source: Path
    directory: Path
    tree: SpecTree
    report: Report
    soc: Soc = Soc.ZYNQ
    keys: dict[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def copy(self, path: Path, to: str) -> bool:
        """Copy a file into the result; if it is a Git LFS pointer, report it and return False."""
        if self.is_pointer(path):
            return False
        target = self.directory / to
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        return True

    def write(self, to: str, text: str) -> None:
        """Write a text file in the result."""
        target = self.directory / to
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def below(self, *parts: str) -> list[Path]:
        """Return the files below a directory of the source."""
        folder = self.source.joinpath(*parts)
        return [path for path in self.files if path.is_relative_to(folder)]

    def is_pointer(self, path: Path) -> bool:
        """Return whether a file is a Git LFS pointer; if so, report it."""
        with path.open("rb") as file:
            pointer = file.read(len(LFS)) == LFS
        if pointer:
            self.report.add(
                path, Outcome.PERSON, "is a Git LFS pointer: run `git lfs pull`, then import again"
            )
        return pointer


def text_of(path: Path) -> str:
    """Return the content of a text file; invalid UTF-8 is replaced.

    Raises:
        UserError: it is too large.
    """
    return plain_file(path, most=_MAX_TEXT).decode(errors="replace")


def files_of(report: Report) -> tuple[Path, ...]:
    """Return all files of a source, sorted; broken links are reported.

    Raises:
        UserError: there are too many.
    """
    return tuple(sorted(_walk(report.source, report, frozenset(), count(1))))


def _walk(
    folder: Path, report: Report, above: frozenset[str], entries: Iterator[int]
) -> Iterator[Path]:
    above |= {os.path.realpath(folder)}
    for path in folder.iterdir():
        if next(entries) > _MAX_FILES:
            raise UserError(
                f"{report.source} has more than {_MAX_FILES} files, including targets of links"
            )
        if path.name in _HIDDEN:
            continue
        if path.is_dir():
            if os.path.realpath(path) in above:
                report.add(path, Outcome.PERSON, "is a link to one of its parent directories")
            else:
                yield from _walk(path, report, above, entries)
        elif path.is_file():
            yield path
        else:
            report.add(path, Outcome.PERSON, "is a broken link")
