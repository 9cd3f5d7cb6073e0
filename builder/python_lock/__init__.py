# SPDX-License-Identifier: MIT
"""Lock files for the Python packages of recipes."""
