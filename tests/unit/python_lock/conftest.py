# SPDX-License-Identifier: MIT
"""The small archive of the tests of archives, for Python modules from apt."""

from __future__ import annotations

from tests.unit.apt.conftest import keys, no_proxies, original, repository

__all__ = ["keys", "no_proxies", "original", "repository"]
