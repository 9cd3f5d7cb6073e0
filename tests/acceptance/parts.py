# SPDX-License-Identifier: MIT
"""Parts of the acceptance, as parts.yaml lists them."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support import ROOT

_FILE = Path(__file__).with_name("parts.yaml")

LONGEST = 3600
"""Seconds that a part may take on two cores."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the acceptance: pytest's arguments, and the files that its result speaks of."""

    name: str
    summary: str
    tests: tuple[str, ...]
    covers: tuple[str, ...]

    def files(self) -> list[Path]:
        """Return the files that the part covers, in order: all that git knows of below its paths."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--", *self.covers],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
        return sorted(ROOT / name for name in set(filter(None, listed.split("\0"))))

    def digest(self) -> str:
        """Return a SHA-256 over names and contents of the files that the part covers."""
        digest = hashlib.sha256()
        for path in self.files():
            content = path.read_bytes() if path.is_file() else b""
            digest.update(f"{path.relative_to(ROOT)} {len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()


def read_parts() -> dict[str, Part]:
    """Return all parts by name, in the order of the file."""
    read = yaml.safe_load(_FILE.read_text())
    return {
        name: Part(
            name=name,
            summary=each["summary"],
            tests=tuple(each["tests"]),
            covers=(
                *read["product"],
                *each["covers"],
                *(word for word in each["tests"] if word.startswith("tests/")),
            ),
        )
        for name, each in read["parts"].items()
    }
