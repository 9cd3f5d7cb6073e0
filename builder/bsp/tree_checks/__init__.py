# SPDX-License-Identifier: MIT
"""Checks of a board's device tree that need no board."""
