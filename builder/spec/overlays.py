# SPDX-License-Identifier: MIT
"""PL designs of a board, and the files that belong to each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from builder.errors import UserError
from builder.spec.models import Board
from builder.spec.reader import Reader

# The directory may also be that of the Vivado project, with gigabytes of other files.
# Versal devices have a .pdi file instead of a .bit file.
_BITSTREAMS = (".bit", ".pdi")
_KINDS = (*_BITSTREAMS, ".hwh", ".dtbo", ".xclbin", ".py")

_MOST_FILES = 10_000

NOTEBOOKS = "notebooks"
"""Directory of a PL design with notebooks for the user."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """A PL design: its directory, and its files as paths relative to the directory."""

    directory: Path
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Its name for `pynq.Overlay` and `pynq.overlays`."""
        return self.directory.name


def board_designs(reader: Reader, file: Path, board: Board) -> tuple[Design, ...]:
    """Return a board's PL designs that exist; add a problem for each missing one and for notebooks.

    Args:
        reader: collects the problems.
        file: the `board.yaml`.
        board: its model.
    """
    found: dict[str, Design] = {}
    for index, overlay in enumerate(board.overlays):
        where = ("overlays", index)
        if overlay.name in found:
            other = found[overlay.name].directory
            problem = f"has the same name as another design, {overlay.name}: {other}"
            reader.add_problem(file, where, problem)
            continue
        try:
            found[overlay.name] = find_design(file.parent / overlay.directory)
        except FileNotFoundError as error:
            if not overlay.optional:
                problem = f"{error}; set `optional: true` if the design may be missing"
                reader.add_problem(file, where, problem)
        except UserError as error:
            reader.add_problem(file, where, error.message)
    if board.notebooks and not (file.parent / board.notebooks).is_dir():
        reader.add_problem(file, ("notebooks",), f"there is no directory {board.notebooks}")
    return tuple(found.values())


def find_design(directory: Path) -> Design:
    """Return the PL design in a directory.

    It consists of the files that the PYNQ library reads, all files in `notebooks/`, and all files in
    Python packages.

    Raises:
        FileNotFoundError: there is no such directory, or it has no bitstream.
        UserError: it has too many files, or cannot be read.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"there is no directory {directory}")
    own = _files(directory.iterdir(), directory)
    if not any(path.suffix in _BITSTREAMS for path in own):
        raise FileNotFoundError(f"there is no bitstream (*.bit) in {directory}")
    files = [path for path in own if path.is_file() and path.suffix in _KINDS]
    for folder in own:
        if folder.name == NOTEBOOKS or (folder / "__init__.py").is_file():
            files += [
                path
                for path in _files(folder.rglob("*"), directory)
                if path.is_file()
                and not {"__pycache__", ".ipynb_checkpoints"} & {*path.relative_to(folder).parts}
            ]
    return Design(directory=directory, files=tuple(path.relative_to(directory) for path in files))


def _files(found: Iterable[Path], directory: Path) -> list[Path]:
    """Return paths in a directory, sorted; limited, as links may lead to directories of any size."""
    try:
        paths = [*islice(found, _MOST_FILES + 1)]
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
    if len(paths) > _MOST_FILES:
        raise UserError(f"{directory} has more than {_MOST_FILES} files in one of its directories")
    return sorted(paths)
