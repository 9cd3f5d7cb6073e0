#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Entry point: hands over to builder.cli, in the virtual environment that `make setup` makes."""

import gc
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = HERE / ".venv" / "bin" / "python"


def main():
    # No annotations, no imports from the tree before this: any Python 3 gets the message.
    if Path(sys.prefix) != PYTHON.parent.parent:
        if not PYTHON.exists():
            sys.stderr.write(
                f"build.py: not set up yet. Type this first:\n\n    make -C {HERE} setup\n"
            )
            return 4
        os.execv(str(PYTHON), [str(PYTHON), str(HERE / "build.py"), *sys.argv[1:]])
    # What is imported stays until the end, so a look for garbage among it takes time for nothing.
    gc.disable()
    from builder.cli.main import main as run  # noqa: PLC0415 - only there in the environment

    gc.freeze()
    gc.enable()
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
