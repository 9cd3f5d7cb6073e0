# SPDX-License-Identifier: MIT
"""Programs of the build machine in place of emulated ones."""
