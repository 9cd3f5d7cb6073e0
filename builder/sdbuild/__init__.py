# SPDX-License-Identifier: MIT
"""Board repositories of PYNQ's sdbuild, and how they become ours."""
