# SPDX-License-Identifier: MIT
"""Entry point of the installed commands."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Sequence
from pathlib import Path

from tests.petalinux.tool.talk import Stop
from tests.petalinux.tool.toolbox import Toolbox

MODELLED = {f"petalinux-{name}": name for name in ("build", "config", "create", "package")}


def main(root: Path, program: str, words: Sequence[str]) -> int:
    """Run a command of the installation at `root`; return its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    tool = Toolbox.at(root)
    try:
        tool.check_environment()
        if program not in MODELLED:
            raise tool.talk.stop(f"the double does not model {program}", code=70)
        importlib.import_module(f"tests.petalinux.tool.{MODELLED[program]}").main(tool, words)
    except Stop as stop:
        return stop.code
    return 0
