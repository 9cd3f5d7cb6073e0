# SPDX-License-Identifier: MIT
"""Writes the directory of a new board, from what a hardware export says of it."""
