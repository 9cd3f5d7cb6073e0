# SPDX-License-Identifier: MIT
"""A double of lsblk: its table of a machine's devices, as lsblk 2.38 prints it."""

from __future__ import annotations

import json
from typing import Any

GIB = 1 << 30


def entry(path: str, kind: str = "disk", **known: Any) -> dict[str, Any]:
    """Return a device as lsblk shows it, a card reader with a card if nothing else is said."""
    return {
        "path": path,
        "type": kind,
        "size": 16 * GIB,
        "model": None if kind == "part" else "Card Reader",
        "vendor": None if kind == "part" else "ACME    ",
        "rm": True,
        "hotplug": True,
        "ro": False,
        "fstype": None,
        "label": None,
        "mountpoints": [None],
        **known,
    }


def fixed(path: str, kind: str = "disk", **known: Any) -> dict[str, Any]:
    return entry(path, kind, rm=False, hotplug=False, **known)


def table(*entries: dict[str, Any]) -> str:
    return json.dumps({"blockdevices": list(entries)})


FAT = entry("/dev/sdb1", "part", fstype="vfat", label="PYNQ")
EXT4 = entry("/dev/sdb2", "part", fstype="ext4", label="root")
CARD = entry("/dev/sdb", children=[FAT, EXT4])
