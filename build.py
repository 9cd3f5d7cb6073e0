#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Entry point: runs builder.cli in the virtual environment that `make setup` creates.

In the installed package (scripts/package.py) the interpreter's own environment has everything.
"""

import gc
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = HERE / ".venv" / "bin" / "python"
INSTALLED = (HERE / "__init__.py").exists()


def main():
    # No annotations, no imports from the tree before this: any Python 3 gets the message.
    if not INSTALLED and Path(sys.prefix) != PYTHON.parent.parent:
        if not PYTHON.exists():
            sys.stderr.write(
                f"build.py: not set up yet. Type this first:\n\n    make -C {HERE} setup\n"
            )
            return 4
        os.execv(str(PYTHON), [str(PYTHON), str(HERE / "build.py"), *sys.argv[1:]])
    # Imported modules stay until the end; collecting garbage among them would only take time.
    gc.disable()
    from builder.cli.main import main as run  # noqa: PLC0415 - only there in the environment

    gc.freeze()
    gc.enable()
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
