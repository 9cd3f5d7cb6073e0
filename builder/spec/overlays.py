# SPDX-License-Identifier: MIT
"""Designs for the programmable logic: which files of a directory belong to one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# A directory often is the Vivado project too, with sources and results of gigabytes beside these.
# .pdi is what Versal has in place of a .bit.
_BITSTREAMS = (".bit", ".pdi")
_KINDS = (*_BITSTREAMS, ".hwh", ".dtbo", ".xclbin", ".py")

NOTEBOOKS = "notebooks"
"""The directory of a design whose content is for the user, not for the library."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """A design: the directory that it is in, and its files, as paths below that directory."""

    directory: Path
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What `pynq.Overlay` and `pynq.overlays` know it by."""
        return self.directory.name


def find_design(directory: Path) -> Design:
    """Return the design in a directory.

    Its files are those of the kinds that the library reads, all of `notebooks/`, and all of
    directories that are Python packages.

    Raises:
        FileNotFoundError: there is no such directory, or no bitstream in it.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"there is no directory {directory}")
    own = sorted(directory.iterdir())
    if not any(path.suffix in _BITSTREAMS for path in own):
        raise FileNotFoundError(f"there is no bitstream (*.bit) in {directory}")
    files = [path for path in own if path.is_file() and path.suffix in _KINDS]
    for folder in own:
        if folder.name == NOTEBOOKS or (folder / "__init__.py").is_file():
            files += [
                path
                for path in sorted(folder.rglob("*"))
                if path.is_file()
                and not {"__pycache__", ".ipynb_checkpoints"} & {*path.relative_to(folder).parts}
            ]
    return Design(directory=directory, files=tuple(path.relative_to(directory) for path in files))
