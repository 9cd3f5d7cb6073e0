# SPDX-License-Identifier: MIT
"""All targets by name; `SLOW` is left to `make fuzz`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.fuzz import boot, hardware, specs, trees
from tests.fuzz.judging import Target

TARGETS: Final[Mapping[str, Target]] = {
    target.name: target
    for target in (*specs.TARGETS, *hardware.TARGETS, *boot.TARGETS, trees.TARGET)
}
SLOW: Final = {trees.TARGET.name}
