# SPDX-License-Identifier: MIT
"""Engines that run the commands of steps: this machine, or Docker."""
