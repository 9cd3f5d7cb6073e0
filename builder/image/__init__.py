# SPDX-License-Identifier: MIT
"""Steps of the card image."""
