# SPDX-License-Identifier: MIT
"""What the tests of images have in common."""

from __future__ import annotations

import pytest

from builder.plan.publish import Output
from tests.support import BOARDS, ROOT, build_py


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let those who have less time than all of a board's checks take pick some."""
    parser.addoption(
        "--boot-checks", metavar="EXPRESSION", help="which checks boot tests run, as with pytest -k"
    )


@pytest.fixture(scope="session")
def outputs() -> dict[str, Output]:
    """The boards' output directories, built by one call, from the store as far as that goes."""
    words = [word for board in BOARDS for word in ("--board", board)]
    done = build_py(*words, "--progress", "plain")
    assert done.returncode == 0, f"the build failed:\n{done.stdout[-4000:]}"
    return {board: Output(directory=ROOT / "output" / board, board=board) for board in BOARDS}


@pytest.fixture(scope="session", params=BOARDS)
def built(request: pytest.FixtureRequest, outputs: dict[str, Output]) -> Output:
    """A board's output directory."""
    return outputs[request.param]
