# SPDX-License-Identifier: MIT
"""The interface between BSP providers and the rest of the build.

Nothing outside of `builder.bsp` distinguishes providers: their steps describe their own sources
(`Step.provenance`) and notes (`Step.notes`).
"""

from __future__ import annotations

from dataclasses import dataclass

from builder.steps.step import Step

NOTES = "notes.json"
"""File in the output of the boot files' step: notes for the user as a JSON list of texts."""


@dataclass(frozen=True, kw_only=True)
class BootArtifacts:
    """The steps that make a board's boot files.

    boot_files: The step for the boot partition. Its output consists of `fat/`, the files of the FAT
        partition (BOOT.BIN, image.ub, boot.scr, ...); `kernel-release`; `board.dtb`, the board's
        device tree; `emulated.dtb`, the device tree for QEMU, unless QEMU cannot emulate the board;
        `changes.json`, the differences between the two; and optionally NOTES.
    kernel_layer: The step for the layer with kernel modules and headers.
    more_layers: Steps for the layers above that one, the lowest first.
    checks: Steps that compare the device tree with the board's hardware. The output of each has the
        file FINDINGS of `builder.bsp.tree_checks.findings`.
    notes: Limitations of the card that the user can remove by supplying a file. They are printed
        after each build, including builds without changes.
    """

    boot_files: Step
    kernel_layer: Step
    more_layers: tuple[Step, ...] = ()
    checks: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
