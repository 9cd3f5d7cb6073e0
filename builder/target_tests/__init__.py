# SPDX-License-Identifier: MIT
"""Checks that run on the board, or from the host against the board."""
