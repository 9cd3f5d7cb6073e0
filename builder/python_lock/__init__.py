# SPDX-License-Identifier: MIT
"""Lock files of recipes' Python packages."""
