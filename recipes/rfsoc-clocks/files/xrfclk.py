# SPDX-License-Identifier: MIT
"""The name that notebooks know PYNQ's package for these clocks by, and its two functions."""

from rfsoc_clocks import set_all_ref_clks, set_ref_clks

__all__ = ["set_all_ref_clks", "set_ref_clks"]
