# SPDX-License-Identifier: MIT
"""Parts of the acceptance, as parts.yaml lists them."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.fixtures.product import ROOT

_FILE = Path(__file__).with_name("parts.yaml")

_IMPORT = re.compile(r"^(?:from|import) (tests\.[\w.]+)(?: import (\w+))?", re.MULTILINE)

LONGEST = 3600
"""Seconds that a part may take on two cores."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the acceptance: arguments for pytest, and the files that its result is valid for."""

    name: str
    summary: str
    tests: tuple[str, ...]
    covers: tuple[str, ...]

    def files(self) -> list[Path]:
        """Return the files that the part covers, in order.

        They are those below its paths that git knows, and what they import of tests/.
        """
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--", *self.covers],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
        return sorted(with_imports({ROOT / name for name in filter(None, listed.split("\0"))}))

    def digest(self) -> str:
        """Return a SHA-256 over the part's arguments, and names and contents of what it covers."""
        digest = hashlib.sha256(repr(self.tests).encode())
        for path in self.files():
            content = path.read_bytes() if path.is_file() else b""
            digest.update(f"{path.relative_to(ROOT)} {len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()


def with_imports(files: Collection[Path]) -> set[Path]:
    """Return files with all modules of tests/ that they import, and these import, and so on."""
    found, left = {*files}, [*files]
    while left:
        path = left.pop()
        if path.suffix != ".py" or ROOT / "tests" not in path.parents or not path.is_file():
            continue
        for module, name in _IMPORT.findall(path.read_text()):
            place = ROOT.joinpath(*module.split("."))
            new = {place.with_suffix(".py"), place / f"{name}.py"} - found
            left += [each for each in new if each.is_file()]
            found |= {each for each in new if each.is_file()}
    return found


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
