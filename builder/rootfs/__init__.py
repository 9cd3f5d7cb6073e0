# SPDX-License-Identifier: MIT
"""Steps of the root filesystem: bootstrap, layers of recipes, Python packages, by-products."""
