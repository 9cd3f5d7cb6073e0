# SPDX-License-Identifier: MIT
"""The process in which one target is fuzzed for a while; the parent survives whatever happens here.

`current` in the directory of findings is the input at hand, so that the parent has it if this process
is killed or crashes. `count` is how many were tried.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

try:
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]
except ImportError:
    atheris = None

from tests.fuzz.judging import Outcome, Target, judge, limit_memory, shortened

ROOM = 1 << 30
"""Bytes that the process may take beyond what it needs to begin with."""

MOST_KEPT = 500
"""Inputs of the corpus that are read; those of a run with coverage are many."""


class Run:
    """A run of one target. New outcomes are kept as seeds, and findings with how to repeat them."""

    def __init__(self, target: Target, corpus: Path, findings: Path, scratch: Path) -> None:
        self.target = target
        self.corpus = corpus
        self.findings = findings
        self.scratch = scratch
        self.seen: set[Outcome] = set()
        self.count = 0

    def seeds(self) -> list[bytes]:
        """Return the target's own seeds and those of the corpus."""
        kept = sorted(self.corpus.iterdir())[:MOST_KEPT]
        return [*self.target.seeds(), *(path.read_bytes() for path in kept)]

    def one(self, data: bytes) -> bool:
        """Try an input, and return whether its outcome is a new one."""
        (self.findings / "current").write_bytes(data)
        outcome = judge(self.target, data, self.scratch)
        self.count += 1
        if self.count % 64 == 0:
            self.note()
        if outcome in self.seen:
            return False
        self.seen.add(outcome)
        if outcome.finding:
            self.keep(data, outcome)
        return True

    def note(self) -> None:
        """Tell the parent how many inputs were tried."""
        (self.findings / "count").write_text(str(self.count))

    def keep(self, data: bytes, outcome: Outcome) -> None:
        """Write a finding: the input, made short if that does not take long, and what it does."""
        if outcome.kind not in ("memory", "TooLongError"):
            data = shortened(self.target, data, outcome, self.scratch)
        path = self.findings / f"{outcome.name}.input"
        path.write_bytes(data)
        again = f"{sys.executable} -m tests.fuzz --reproduce {path}"
        path.with_suffix(".txt").write_text(f"{again}\n\n{outcome.report}")

    def plain(self, seed: int, seconds: float) -> None:
        """Mutate seeds; those that led to something new become seeds, too."""
        end, random = time.monotonic() + seconds, Random(seed)  # noqa: S311 - no secret
        seeds = self.seeds()
        for data in seeds:
            self.one(data)
        while time.monotonic() < end:
            data = self.target.input(random, seeds)
            if self.one(data):
                seeds.append(data)
                name = hashlib.sha256(data).hexdigest()[:16]
                (self.corpus / name).write_bytes(data)
        self.note()

    def guided(self, seed: int, seconds: float) -> None:
        """Let atheris choose by coverage what to mutate; it ends the process."""
        for data in self.target.seeds():
            (self.corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

        def mutator(data: bytes, most: int, number: int) -> bytes:
            random = Random(number)  # noqa: S311 - no secret
            if random.randrange(4) == 0:
                return bytes(atheris.Mutate(data, most))
            return self.target.input(random, [data])[:most]

        words = ["fuzz", str(self.corpus), f"-seed={seed}", f"-max_total_time={seconds:.0f}"]
        words += ["-max_len=100000", "-rss_limit_mb=0", "-timeout=120", "-verbosity=0"]
        atheris.Setup(words, lambda data: self.one(data) and None, custom_mutator=mutator)
        atheris.Fuzz()


def main(argv: Sequence[str]) -> None:
    """Fuzz a target."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--findings", type=Path, required=True)
    arguments = parser.parse_args(argv)
    if atheris:
        with atheris.instrument_imports(include=["builder"], enable_loader_override=False):
            from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented as it is imported
    else:
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415
    target = TARGETS[arguments.target]
    if target.limited:
        limit_memory(ROOM)
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(target, arguments.corpus, arguments.findings, Path(scratch))
        (run.guided if atheris else run.plain)(arguments.seed, arguments.seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
