# SPDX-License-Identifier: MIT
"""What is kept: the outputs of steps, found by their fingerprints."""
