# SPDX-License-Identifier: MIT
"""Lock files of recipes' Python packages: what is resolved, by uv, and what is written."""
