# SPDX-License-Identifier: MIT
"""The part of a board that board-specific recipes depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.spec.models import Board
from builder.spec.overlays import Design


@dataclass(frozen=True, kw_only=True)
class BoardView:
    """A board as board-specific recipes see it.

    name: scope of the layers of these recipes.
    board: its specification.
    overlays: its PL designs.
    notebooks: directory of its notebooks.
    hardware: name of the board whose device tree it uses, if that is another board.
    """

    name: str
    board: Board
    overlays: Sequence[Design] = ()
    notebooks: Path | None = None
    hardware: str | None = None

    @property
    def hardware_name(self) -> str:
        """The board's name at run time, by which PYNQ's designs identify it."""
        return self.hardware or self.board.board

    @property
    def files(self) -> list[Path]:
        """The files and directories that recipes may copy: PL designs and notebooks."""
        designs = [each.directory / file for each in self.overlays for file in each.files]
        return [*designs, *([self.notebooks] if self.notebooks else [])]
