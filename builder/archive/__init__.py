# SPDX-License-Identifier: MIT
"""Package archives: which distribution answers, its signed indexes, and downloads from it."""
