# SPDX-License-Identifier: MIT
"""The BSP provider `mainline`: kernel, U-Boot and device tree with open tools alone."""
