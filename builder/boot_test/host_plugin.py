# SPDX-License-Identifier: MIT
"""Pytest plugin with the fixtures of checks that run from the host."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.boot_test.notebook import Notebooks
from builder.target_tests.plugin import BoardUnderTest

# The address range is not used by any other device. There need be no logic behind it, as the checks
# only look at the device that the driver creates.
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
    """The board's output directory, for files that a check writes (screenshots)."""
    report: Path = pytestconfig.getoption("report")
    return report.parent


@pytest.fixture(scope="session")
def run_notebook(
    jupyter_url: str, parameters: dict[str, dict[str, Any]]
) -> Callable[[str, Sequence[str]], list[str]]:
    """Run cells as a notebook of a name on the board's Jupyter server; return each cell's output."""
    return lambda name, cells: Notebooks(jupyter_url, parameters["jupyter"]["password"]).run(
        name, cells
    )


@pytest.fixture(scope="session")
def send(_facts: dict[str, Any]) -> Callable[[bytes, str], None]:
    """Write bytes to an executable file on the board."""

    def write(content: bytes, path: str) -> None:
        words = [*_facts["shell"], f"cat > {path} && chmod 0755 {path}"]
        subprocess.run(words, input=content, check=True, capture_output=True)

    return write


@pytest.fixture(scope="session")
def send_block(
    board: BoardUnderTest, send: Callable[[bytes, str], None]
) -> Callable[[str, str], None]:
    """Compile a device-tree overlay with a UIO device of a name, and write it to a file on the board."""

    def write(device: str, path: str) -> None:
        source = _BLOCK % (device, _PLACES[board.soc])
        words = ["dtc", "-q", "-@", "-I", "dts", "-O", "dtb"]
        done = subprocess.run(words, input=source.encode(), capture_output=True, check=True)
        send(done.stdout, path)

    return write
