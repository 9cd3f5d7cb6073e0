# SPDX-License-Identifier: MIT
"""The clock that a board's processing system is fed with, out of the running system's device tree.

The library computes all clocks from it, and has one frequency for all boards of a SoC family. The
device tree has the board's: the kernel needs it for the same purpose.
"""

from __future__ import annotations

from pathlib import Path

# Of Zynq-7000, and of Zynq UltraScale+, whose node is pss-ref-clk in newer kernels.
PLACES = (
    "*/slcr@f8000000/clkc@100/ps-clk-frequency",
    "pss[_-]ref[_-]clk/clock-frequency",
)


def reference_clock_mhz(default: float, tree: str | Path = "/proc/device-tree") -> float:
    """Return the frequency in MHz; `default` if there is no device tree or it does not say."""
    for place in PLACES:
        for path in Path(tree).glob(place):
            return int.from_bytes(path.read_bytes()[:4], "big") / 1e6
    return default
