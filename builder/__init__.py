# SPDX-License-Identifier: MIT
"""Builds SD-card images for Zynq boards and proves them by booting them under QEMU."""
