# SPDX-License-Identifier: MIT
"""The BSP provider `prebuilt`: boot files and modules that the board's vendor or the user built."""
