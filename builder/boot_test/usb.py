# SPDX-License-Identifier: MIT
"""USB disk of an emulated board."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from builder.formats.devicetree import DeviceTree, is_enabled

_SERIAL = "zynq-sd-builder"
"""Serial number of the disk; its content starts with it."""

_HEADER = 4096
_SIZE = 1 << 20
"""Bytes of the disk's header, and of the data that follows."""


def usb_disk(tree: DeviceTree, controllers: Sequence[str], work: Path) -> list[str]:
    """Write the content of a USB disk, and return QEMU's options for it at the first USB port.

    Return no options for a board without a USB controller that QEMU emulates. The first line of the
    disk contains its serial number and the SHA-256 of the data after the first 4 KiB, so that the
    board can verify what it reads.

    Args:
        tree: the device tree of the emulated boot.
        controllers: names of QEMU's controllers in device trees, in the order of its buses.
        work: the directory for the disk's content.
    """
    on = {node.rpartition("/")[2] for node, properties in tree.items() if is_enabled(properties)}
    used = [bus for bus, name in enumerate(controllers) if name in on]
    if not used:
        return []
    disk = work / "usb-disk.img"
    content = hashlib.shake_256(_SERIAL.encode()).digest(_SIZE)
    header = f"{_SERIAL} {hashlib.sha256(content).hexdigest()}\n"
    disk.write_bytes(header.encode().ljust(_HEADER, b"\0") + content)
    return [
        *("-drive", f"if=none,id=usb-disk,file={disk},format=raw,readonly=on"),
        *("-device", f"usb-storage,bus=usb-bus.{used[0]},drive=usb-disk,serial={_SERIAL}"),
    ]
