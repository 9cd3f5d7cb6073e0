# SPDX-License-Identifier: MIT
"""The command line as tests run it: in this process, with places of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from builder.apt.archive import Archive, ArchiveRecord
from builder.cli.main import main
from builder.spec.reader import Tree
from builder.spec.resolve import ImageSpec, resolve

TREE = Tree(root=Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class Answer:
    """What a run of the command line came to."""

    status: int
    output: str
    errors: str


class CommandLine:
    """Runs `build.py` in this process."""

    def __init__(self, store: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.places = ["--store", str(store), "--output", str(output)]
        self.capsys = capsys

    def __call__(self, *words: str) -> Answer:
        try:
            status = main(words)
        except SystemExit as exited:  # argparse
            status = int(exited.code or 0)
        captured = self.capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    def there(self, verb: str, *words: str) -> Answer:
        """Run a verb with the test's own places."""
        return self(verb, *self.places, *words)


@cache
def _spec(distribution: str) -> ImageSpec:
    """Return what an image of the Pynq-Z2 is made of."""
    return resolve(TREE, "Pynq-Z2", distro=distribution)


class FakeArchive(Archive):
    """An archive for whom everything is there."""

    def __init__(self, name: str = "debian-bookworm") -> None:
        spec = _spec(name)
        super().__init__(Path("/nowhere"), spec.distributions[0], spec.architecture)
        names = self.distribution.model.sources
        source = {"version": "1", "files": []}
        self._record = ArchiveRecord.model_validate(
            {
                "pockets": {},
                "left-out": {},
                "epoch": 0,
                "sources": {f"binary:{names.linux}": source, f"source:{names.u_boot}": source},
            }
        )
