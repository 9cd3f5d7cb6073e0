# SPDX-License-Identifier: MIT
"""Options and fixtures of the tests that build and boot images."""

from __future__ import annotations

import os
from itertools import groupby

import pytest

from builder.publish.output import Output
from tests.fixtures.product import BOARD, ROOT, build

LIMITS = {"unit": 120, "fuzz": 120, "programs": 300, "lint": 600}
"""Seconds that a test in a directory may take, its fixtures included."""

LONGEST = 5400
"""Seconds that any other test may take: one builds images of five boards and boots them."""


MARKERS = {
    "image": ("root", "network"),
    "boot": ("root", "network", "qemu", "slow"),
    "docker": ("docker", "network", "slow"),
    "petalinux": ("slow",),
    "acceptance": ("root", "network", "qemu", "slow"),
}
"""Markers that say what the tests of a directory need; those of the others need none of it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the caller choose the board and how much of it is checked."""
    parser.addoption(
        "--board", default=BOARD, help="board that is built and booted (default: %(default)s)"
    )
    parser.addoption(
        "--all-checks", action="store_true", help="boot tests run the checks that take long, too"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test a time limit, and the markers of its directory."""
    for path, of_file in groupby(items, key=lambda item: item.path):
        folder = path.relative_to(ROOT / "tests").parts[0]
        limit = pytest.mark.timeout(LIMITS.get(folder, LONGEST))
        markers = MARKERS.get(folder, ())
        for item in of_file:
            for name in markers:
                item.add_marker(name)
            if "needs_root" in getattr(item, "fixturenames", ()):
                item.add_marker("root")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(limit)


@pytest.fixture(scope="session")
def board(request: pytest.FixtureRequest) -> str:
    """The board that is built and booted."""
    return str(request.config.getoption("--board"))


@pytest.fixture(scope="session")
def built(board: str) -> Output:
    """The output directory of the board."""
    return build(board)


@pytest.fixture
def needs_root() -> None:
    """Skip without the right to make namespaces; CI runs as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces, mounts")
