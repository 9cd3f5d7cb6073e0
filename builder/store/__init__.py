# SPDX-License-Identifier: MIT
"""The store: outputs of steps, found by their fingerprints."""
