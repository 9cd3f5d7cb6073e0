# SPDX-License-Identifier: MIT
"""The artifacts of BSP providers; no later step knows which provider made them."""

from __future__ import annotations

from dataclasses import dataclass

from builder.steps.step import Step

NOTES = "notes.json"
"""File in the output of the boot files' step with notes that are known only then: a list of texts."""


@dataclass(frozen=True, kw_only=True)
class BootArtifacts:
    """The steps that make a board's boot files.

    boot_files: its output has `fat/`, all that goes onto the FAT partition (BOOT.BIN, image.ub,
        boot.scr, ...), and `kernel-release`; `board.dtb`, the tree that is derived from it for
        QEMU (`emulated.dtb`, unless QEMU cannot be this board), and `changes.json`, the
        differences. It may have NOTES.
    kernel_layer: its output is a layer of the root filesystem with modules and headers.
    more_layers: steps whose layers go on top of that one, the lowest first.
    checks: steps that compare the device tree with what is known of the board; the output of each
        has the file FINDINGS of `builder.bsp.tree_checks.findings`.
    notes: what the card cannot do for want of something that the user has to bring; to be said at
        the end of each build, whether its steps were kept or not.
    """

    boot_files: Step
    kernel_layer: Step
    more_layers: tuple[Step, ...] = ()
    checks: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
