# SPDX-License-Identifier: MIT
"""The BSP provider `prebuilt`: boot files and modules that a board's maker built."""
