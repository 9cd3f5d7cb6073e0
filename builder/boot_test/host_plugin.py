# SPDX-License-Identifier: MIT
"""The pytest plugin with what checks have that run from outside, beside `builder.target_tests.plugin`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.boot_test.notebook import Notebooks
from builder.target_tests.plugin import BoardUnderTest

# A block of registers where no logic is, or that no other device has: nothing but the driver's device
# is looked at.
_BLOCK = """
/dts-v1/;
/plugin/;
/ {
    fragment@0 {
        target-path = "/";
        __overlay__ {
            %s {
                compatible = "generic-uio";
                reg = <%s>;
            };
        };
    };
};
"""
_PLACES = {"zynq": "0x7aa00000 0x1000", "zynqmp": "0 0xa0000000 0 0x1000"}


@pytest.fixture(scope="session")
def output(pytestconfig: pytest.Config) -> Path:
    """The board's output directory, for what a check leaves to look at."""
    report: Path = pytestconfig.getoption("report")
    return report.parent


@pytest.fixture(scope="session")
def run_notebook(
    jupyter_url: str, parameters: dict[str, dict[str, Any]]
) -> Callable[[str, Sequence[str]], list[str]]:
    """Run cells as a notebook of that name on the board's Jupyter; return what each printed."""
    return lambda name, cells: Notebooks(jupyter_url, parameters["jupyter"]["password"]).run(
        name, cells
    )


@pytest.fixture(scope="session")
def send(_facts: dict[str, Any]) -> Callable[[bytes, str], None]:
    """Write bytes into a file of the board's, which root may execute."""

    def write(content: bytes, path: str) -> None:
        words = [*_facts["shell"], f"cat > {path} && chmod 0755 {path}"]
        subprocess.run(words, input=content, check=True, capture_output=True)

    return write


@pytest.fixture(scope="session")
def send_block(
    board: BoardUnderTest, send: Callable[[bytes, str], None]
) -> Callable[[str, str], None]:
    """Compile a device tree overlay with a UIO device of a name, and write it into a file of the board's."""

    def write(device: str, path: str) -> None:
        source = _BLOCK % (device, _PLACES[board.soc])
        words = ["dtc", "-q", "-@", "-I", "dts", "-O", "dtb"]
        done = subprocess.run(words, input=source.encode(), capture_output=True, check=True)
        send(done.stdout, path)

    return write
