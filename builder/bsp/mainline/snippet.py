# SPDX-License-Identifier: MIT
"""The device-tree snippet that all boards of a family include."""

from __future__ import annotations

from pathlib import Path

from builder.bsp.soc import BSP_DIRECTORY, Family

_SNIPPETS = f"{BSP_DIRECTORY}/meta-user/recipes-bsp/device-tree/files"


def snippet(project: Path, family: Family) -> Path:
    """Return the file that every board of a family includes at the end of its device tree."""
    return project / _SNIPPETS / f"pynq-pl-{family.soc.value}.dtsi"
