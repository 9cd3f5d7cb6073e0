# SPDX-License-Identifier: MIT
"""Runs the product as a user does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from builder.plan.publish import Output

ROOT = Path(__file__).resolve().parents[1]
BOARD = "Pynq-Z2"
BOARDS = (BOARD, "ZCU111")
"""One of each architecture."""


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


def build(board: str) -> Output:
    """Build a board's image, out of the store as far as that goes; return its output directory."""
    done = build_py("--board", board, "--progress", "plain")
    assert done.returncode == 0, f"the build failed:\n{done.stdout[-4000:]}"
    return Output(directory=ROOT / "output" / board, board=board)
