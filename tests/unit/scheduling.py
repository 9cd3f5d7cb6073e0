# SPDX-License-Identifier: MIT
"""Distribution of work by pytest-xdist: of tests, and of the collection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]


class ByDirectory(LoadScopeScheduling):  # type: ignore[misc]
    """Gives all tests of a directory below tests/unit, and of a module in it, to one worker.

    Fixtures of wider scopes are then made once.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = PurePath(nodeid.partition("::")[0])
        return str(path if path.parent.name == "unit" else path.parent)


def worker_share(worker: Mapping[str, Any], count: int) -> int:
    """Return where a worker's share of `count` things begins; without workers, at the first.

    `worker` is what pytest-xdist tells a worker, its `config.workerinput`.
    """
    if not worker:
        return 0
    number = int(worker["workerid"].removeprefix("gw"))
    return number * count // int(worker["workercount"])
