# SPDX-License-Identifier: MIT
"""Scheduler for pytest-xdist: tests that share fixtures run in one worker."""

from __future__ import annotations

from pathlib import PurePath

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]


class ByDirectory(LoadScopeScheduling):  # type: ignore[misc]
    """Gives all tests of a directory below tests/unit, and of a module in it, to one worker.

    Fixtures of wider scopes are then made once.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = PurePath(nodeid.partition("::")[0])
        return str(path if path.parent.name == "unit" else path.parent)
