# SPDX-License-Identifier: MIT
"""The machine that QEMU emulates for a board, and the device tree derived for it."""
