# SPDX-License-Identifier: MIT
"""Runs the product as a user does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BOARD = "Pynq-Z2"
BOARDS = (BOARD, "ZCU111")
"""One of each architecture: all that is built and booted."""


def build_py(
    *words: str, engine: str = "host", timeout: float = 5400
) -> subprocess.CompletedProcess[str]:
    """Run build.py as a user does, on this machine; its output goes to the test's."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "build.py"), *words, "--engine", engine],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    sys.stdout.write(done.stdout)
    return done
