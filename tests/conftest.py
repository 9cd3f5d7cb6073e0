# SPDX-License-Identifier: MIT
"""What the tests of images have in common."""

from __future__ import annotations

import pytest

from builder.plan.publish import Output
from tests.support import BOARD, ROOT, build_py


@pytest.fixture(scope="session")
def built() -> Output:
    """The board's output directory, built from the store as far as that goes."""
    done = build_py("--board", BOARD, "--progress", "plain")
    assert done.returncode == 0, f"the build failed:\n{done.stdout[-4000:]}"
    return Output(directory=ROOT / "output" / BOARD, board=BOARD)
