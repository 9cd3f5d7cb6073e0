# SPDX-License-Identifier: MIT
"""Which steps a build needs, in which order, which are kept, and why the others are not."""
