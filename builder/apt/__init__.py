# SPDX-License-Identifier: MIT
"""Package archives: distributions, signed indexes and mirrors."""
