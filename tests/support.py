# SPDX-License-Identifier: MIT
"""Runs the product as a user does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.publish.output import Output

ROOT = Path(__file__).resolve().parents[1]
BOARD = "Pynq-Z2"
BOARDS = (BOARD, "ZCU111")
"""One of each architecture."""


def build_py(*words: str, engine: str = "host") -> subprocess.CompletedProcess[str]:
    """Run build.py as a user does, on this machine; its output goes to the test's.

    A time limit of the test interrupts it, so that it can tidy up.
    """
    command = [sys.executable, str(ROOT / "build.py"), *words, "--engine", engine]
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        ) as process:
            try:
                process.wait()
            finally:
                _end(process)
                said.seek(0)
                output = said.read()
                sys.stdout.write(output)
        return subprocess.CompletedProcess(command, process.returncode, output)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a process if it still runs, and kill it if that does not help within a minute."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def build(board: str) -> Output:
    """Build a board's image, out of the store as far as that goes; return its output directory."""
    done = build_py("--board", board, "--progress", "plain")
    assert done.returncode == 0, f"the build failed:\n{done.stdout[-4000:]}"
    return Output(directory=ROOT / "output" / board, board=board)


def run_clean(*words: str) -> None:
    """Run a program of the virtual environment at the top of the tree; it must find nothing."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        words,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}"


def tracked() -> Iterator[Path]:
    """Yield the text files of the tree, as git knows them, new ones too."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in path.read_bytes():
            yield path


def names(*endings: str) -> list[str]:
    """Return the names of the tree's text files with an ending."""
    return sorted(str(path.relative_to(ROOT)) for path in tracked() if path.suffix in endings)
