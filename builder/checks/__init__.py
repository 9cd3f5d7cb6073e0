# SPDX-License-Identifier: MIT
"""What checks may know of a board and its image, from outside and on the board itself."""
