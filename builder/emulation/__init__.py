# SPDX-License-Identifier: MIT
"""What QEMU has of a board, and the device tree that is derived for it."""
