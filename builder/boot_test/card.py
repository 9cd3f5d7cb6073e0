# SPDX-License-Identifier: MIT
"""Device tree for QEMU, read from a card image."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from builder.boot_test.extraction import EMULATED, boot_file
from builder.errors import StepError, UserError
from builder.formats.devicetree import parse_tree
from builder.formats.fit import read_fit
from builder.image.image import BOOT_OFFSET
from builder.qemu_devicetree.derive import changes_to_json, differences

_FILES = ("emulated.dtb", "changes.json")
_BOARD = "conf-board"


def has_emulated_tree(image: Path) -> bool:
    """Return whether the device tree for QEMU is on the card, in its image.ub.

    If so, the card's U-Boot starts the kernel with it under QEMU. Boot files from other sources
    know nothing of QEMU.
    """
    with tempfile.TemporaryDirectory(prefix="card-") as work:
        try:
            packed = read_fit(boot_file(image, BOOT_OFFSET, "image.ub", Path(work)))
        except (StepError, UserError):
            return False
    return EMULATED in packed.configurations


def emulated_tree(image: Path, folder: Path, given: Path) -> None:
    """Write a card's device tree for QEMU, and its differences from the board's, to `folder`.

    Both are read from the card's image.ub. Boot files that were not made for QEMU do not have them;
    then they are copied from `given`, the directory `boot/` beside the image.

    Raises:
        StepError: neither has them.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="card-") as work:
        try:
            packed = read_fit(boot_file(image, BOOT_OFFSET, "image.ub", Path(work)))
            emulated, board = (packed.find(name, "fdt") for name in (EMULATED, _BOARD))
        except StepError:
            emulated = board = None
    if emulated and board:
        (folder / _FILES[0]).write_bytes(emulated.data)
        changes = differences(parse_tree(board.data), parse_tree(emulated.data))
        (folder / _FILES[1]).write_text(changes_to_json(changes))
    elif all((given / name).is_file() for name in _FILES):
        for name in _FILES:
            shutil.copyfile(given / name, folder / name)
    else:
        raise StepError(
            "the image cannot be tested: its boot partition has no device tree for QEMU",
            hint="with prebuilt boot files, the device tree for QEMU is in the directory boot/ "
            "beside the built image: keep that directory",
        )
