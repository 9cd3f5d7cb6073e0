# SPDX-License-Identifier: MIT
"""Writing of images to cards: selection of devices, writing, verification."""
