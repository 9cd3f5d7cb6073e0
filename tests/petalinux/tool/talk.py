# SPDX-License-Identifier: MIT
"""Messages of the commands, in the two styles of public build logs.

Bash releases (until 2023.2) mix `[INFO] ` for stages with `INFO: ` for details and write errors as
`ERROR: `; the Python ones (from 2024.1) prefix everything with `[LEVEL] `: logger_setup.py of
github.com/Xilinx/PetaLinux. All of it goes to standard output, and into the command's log.
"""

from __future__ import annotations

import sys
from pathlib import Path


class Stop(Exception):
    """End of a command after its message, with its exit code."""

    def __init__(self, code: int = 255) -> None:
        super().__init__(code)
        self.code = code


class Talk:
    """Printer of lines, which also writes them to the log once there is one."""

    def __init__(self, *, python: bool) -> None:
        self.python = python
        self.log: Path | None = None

    def raw(self, line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"{line}\n")

    def stage(self, text: str) -> None:
        self.raw(f"[INFO] {text}")

    def info(self, text: str) -> None:
        self.raw(f"[INFO] {text}" if self.python else f"INFO: {text}")

    def warning(self, text: str) -> None:
        self.raw(f"[WARNING] {text}" if self.python else f"WARNING: {text}")

    def note(self, text: str) -> None:
        self.raw(f"[NOTE] {text}")

    def error(self, text: str) -> None:
        self.raw(f"[ERROR] {text}" if self.python else f"ERROR: {text}")

    def stop(self, *texts: str, code: int = 255) -> Stop:
        """Print the reason; return the exception to raise."""
        for text in texts:
            self.error(text)
        return Stop(code)

    def log_to(self, log: Path) -> None:
        """Begin a log; the previous one is renamed to `.old`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_name(f"{log.name}.old"))
        log.touch()
        self.log = log
