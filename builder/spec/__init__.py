# SPDX-License-Identifier: MIT
"""What is wanted: boards, recipes, profiles and distributions as validated, pure data."""
