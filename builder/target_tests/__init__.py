# SPDX-License-Identifier: MIT
"""Tests that run on the board, or against it from the host."""
