# SPDX-License-Identifier: MIT
"""Checks of a board's device tree that do not need the board."""
