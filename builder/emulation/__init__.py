# SPDX-License-Identifier: MIT
"""The part of a board that QEMU emulates, and the device tree that is derived for it."""
