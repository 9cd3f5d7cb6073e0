# SPDX-License-Identifier: MIT
"""Readers of Vivado's hardware exports."""
