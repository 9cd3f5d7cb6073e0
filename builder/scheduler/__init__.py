# SPDX-License-Identifier: MIT
"""Execution of a plan's steps."""
