# SPDX-License-Identifier: MIT
"""Boot test of an image under QEMU."""
