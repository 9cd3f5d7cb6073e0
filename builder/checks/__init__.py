# SPDX-License-Identifier: MIT
"""Fixtures and facts for checks of a board and its image, from outside and on the board itself."""
