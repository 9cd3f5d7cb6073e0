# SPDX-License-Identifier: MIT
"""Processes, and the directories in which they work."""
