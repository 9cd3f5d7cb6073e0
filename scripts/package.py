# SPDX-License-Identifier: MIT
"""Entry point of the installed package (`pipx install .`), which contains the tree."""

import runpy
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parent


def main() -> None:
    """Run build.py of the installed tree with this process's arguments."""
    sys.argv[0] = str(TREE / "build.py")
    sys.path.insert(0, str(TREE))
    runpy.run_path(sys.argv[0], run_name="__main__")
