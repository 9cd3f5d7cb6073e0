# SPDX-License-Identifier: MIT
"""Specifications: boards, recipes, profiles and distributions as validated, pure data."""
