# SPDX-License-Identifier: MIT
"""Writing an image onto a card: which devices may be written, writing, reading back."""
