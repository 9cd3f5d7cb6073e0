# SPDX-License-Identifier: MIT
"""The emulated board."""
