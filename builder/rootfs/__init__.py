# SPDX-License-Identifier: MIT
"""Steps of the root filesystem: bootstrap, recipes, layers."""
