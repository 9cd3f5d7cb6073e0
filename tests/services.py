# SPDX-License-Identifier: MIT
"""How far the services of recipes are shut in, as `systemd-analyze security` rates it, and why."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = "etc/systemd/system"
"""Where recipes put their units."""

OFFLINE = 250
"""The first release of systemd that rates units of a tree."""

LIBRARY = (
    "the library, and drivers that come with designs, open any device as root and compile code"
)
RADIO = "root with CAP_NET_ADMIN and CAP_NET_RAW, in the board's network; wpa_cli needs /tmp"

REVIEWED = {
    "boot-leds.service": (4.8, f"{LIBRARY}; the design may be in /tmp"),
    "boot-py.service": (9.6, "it is the user's own program, and does whatever root may"),
    "grow-root.service": (2.6, "it writes to the disk, and resizing takes CAP_SYS_ADMIN"),
    "jupyter.service": (9.2, "notebooks do all that the user may, root's part by sudo"),
    "pynq-boot-overlay.service": (4.6, LIBRARY),
    "rfsoc-clocks.service": (2.2, "it binds drivers in sysfs, and SPI devices are root's"),
    "ssh-host-keys.service": (1.3, "the keys are root's"),
    "swap.service": (2.0, "swapon takes CAP_SYS_ADMIN"),
    "usb-gadget.service": (3.5, "it writes configfs, mounts a file, and makes an interface"),
    "web-port.service": (1.5, "it connects to Jupyter"),
    "wifi-access-point@.service": (3.6, RADIO),
    "wifi@.service": (3.7, f"{RADIO}; certificates may be in homes"),
}
"""The highest exposure that a unit may have (0 to 10), and why it is not lower."""


def needs_systemd_analyze() -> None:
    """Skip the test where systemd's own program is missing or old."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    shown = subprocess.check_output([program, "--version"], text=True)
    if int(re.findall(r"\d+", shown)[0]) < OFFLINE:
        pytest.skip(f"needs systemd-analyze {OFFLINE} or later")


def services(tree: Path) -> list[str]:
    """Return the names of the services that an image has of its own; links are packages'."""
    folder = tree / UNITS
    return sorted(path.name for path in folder.glob("*.service") if not path.is_symlink())


def exposure(tree: Path, unit: str) -> float:
    """Return the exposure of a unit of an image's tree, 0 to 10."""
    done = subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=yes", "--no-pager", f"--root={tree}"),
            unit.replace("@.", "@instance."),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    (found,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    return float(found)


def too_open(tree: Path) -> list[str]:
    """Say which services of a tree are rated worse than was reviewed, or were not reviewed."""
    found = []
    for unit in services(tree):
        rated = exposure(tree, unit)
        if unit not in REVIEWED:
            found.append(f"{unit} ({rated}) is not in the table: shut it in, then add it")
        elif rated > (most := REVIEWED[unit][0]):
            found.append(f"{unit} is rated {rated}, which was at most {most}")
    return found
