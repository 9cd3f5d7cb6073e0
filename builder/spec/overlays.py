# SPDX-License-Identifier: MIT
"""Designs for the programmable logic: which files of a directory belong to one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from builder.errors import UserError

# A directory often is the Vivado project too, with sources and results of gigabytes beside these.
# .pdi is what Versal has in place of a .bit.
_BITSTREAMS = (".bit", ".pdi")
_KINDS = (*_BITSTREAMS, ".hwh", ".dtbo", ".xclbin", ".py")

_MOST_FILES = 10_000

NOTEBOOKS = "notebooks"
"""The directory of a design whose content is for the user, not for the library."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """A design: the directory that it is in, and its files, as paths below that directory."""

    directory: Path
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Its name for `pynq.Overlay` and `pynq.overlays`."""
        return self.directory.name


def find_design(directory: Path) -> Design:
    """Return the design in a directory.

    Its files are those of the kinds that the library reads, all of `notebooks/`, and all of
    directories that are Python packages.

    Raises:
        FileNotFoundError: there is no such directory, or no bitstream in it.
        UserError: there is more in it than is read, or it cannot be read.
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
    """Return what is in a directory, sorted: links may lead to directories of any size."""
    try:
        paths = [*islice(found, _MOST_FILES + 1)]
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
    if len(paths) > _MOST_FILES:
        raise UserError(f"{directory} has more than {_MOST_FILES} files in one of its directories")
    return sorted(paths)
