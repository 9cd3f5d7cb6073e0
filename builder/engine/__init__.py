# SPDX-License-Identifier: MIT
"""Engines, which run the commands of steps, and their requirements on the machine."""
