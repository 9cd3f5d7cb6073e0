# SPDX-License-Identifier: MIT
"""The store: a cache of step outputs by key."""
