# SPDX-License-Identifier: MIT
"""How fast the builder is on this machine, as ratios against references run beside it."""
