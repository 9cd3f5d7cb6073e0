# SPDX-License-Identifier: MIT
"""Who makes the boot files: BSP providers, all of which fill the same set of artifacts."""
