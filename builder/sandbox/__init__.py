# SPDX-License-Identifier: MIT
"""Processes, and the workspaces in which they run."""
