# SPDX-License-Identifier: MIT
"""BSP providers, which make the boot files; all of them provide the same set of artifacts."""
