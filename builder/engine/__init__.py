# SPDX-License-Identifier: MIT
"""Engines that run the commands of steps, and what they need of the machine."""
