# SPDX-License-Identifier: MIT
"""Programs of the build machine that run in the target's root filesystem."""
