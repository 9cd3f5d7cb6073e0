# SPDX-License-Identifier: MIT
"""What tests with other programs have in common with the unit tests."""

from __future__ import annotations

from tests.unit.conftest import nothing_is_left_running

__all__ = ["nothing_is_left_running"]
