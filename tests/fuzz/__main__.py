# SPDX-License-Identifier: MIT
"""Fuzzes all targets in turn, each in a process of its own: `make fuzz MINUTES=30`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.cli.context import default_store
from tests.fuzz.judging import ROOT, judge
from tests.fuzz.targets import TARGETS

PATIENCE = 60
"""Seconds without a new input after which a process is killed."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a target: how many inputs were tried, and the files of findings."""

    target: str
    inputs: int
    findings: tuple[Path, ...]


def fuzz(target: str, seconds: float, folder: Path) -> Result:
    """Fuzz a target for some seconds, again and again if the process dies.

    Args:
        target: its name.
        seconds: how long.
        folder: where the corpus and the findings are kept.
    """
    corpus, findings = folder / "corpus" / target, folder / "findings" / target
    corpus.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(findings, ignore_errors=True)
    findings.mkdir(parents=True)
    end, inputs = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        (findings / "count").unlink(missing_ok=True)
        died = _process(target, left, corpus, findings)
        with contextlib.suppress(FileNotFoundError, ValueError):
            inputs += int((findings / "count").read_text())
        if not died:
            break
        _keep_current(target, findings, died)
    (findings / "count").unlink(missing_ok=True)
    (findings / "current").unlink(missing_ok=True)
    return Result(target=target, inputs=inputs, findings=tuple(sorted(findings.glob("*.input"))))


def _process(target: str, seconds: float, corpus: Path, findings: Path) -> str:
    """Run the process of a target; return how it died, "" if it ended by itself."""
    words = [sys.executable, "-m", "tests.fuzz.child", target, "--seconds", str(seconds)]
    words += ["--seed", str(secrets.randbits(31)), "--corpus", str(corpus)]
    words += ["--findings", str(findings)]
    log = findings / "log"
    with log.open("wb") as said, tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": place}
        environment |= {"PYTHONPATH": str(ROOT), "HOME": place, "COLUMNS": "80"}
        process = subprocess.Popen(
            words, cwd=place, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment
        )
        try:
            started = time.monotonic()
            while process.poll() is None:
                time.sleep(0.2)
                if _idle(findings / "current", started) > PATIENCE:
                    process.kill()
        finally:
            process.kill()
            process.wait()
    if process.returncode == 0:
        log.unlink()
        return ""
    if process.returncode < 0:
        return signal.Signals(-process.returncode).name
    return f"status-{process.returncode}"


def _idle(current: Path, started: float) -> float:
    with contextlib.suppress(FileNotFoundError):
        return min(time.time() - current.stat().st_mtime, time.monotonic() - started)
    return time.monotonic() - started - PATIENCE  # it has not begun


def _keep_current(target: str, findings: Path, died: str) -> None:
    """Keep the input at which a process died as a finding."""
    if not (findings / "current").exists():
        raise SystemExit(f"{target} cannot be run:\n{(findings / 'log').read_text()[-4000:]}")
    (findings / "current").rename(findings / f"{died}.input")
    (findings / "log").rename(findings / f"{died}.txt")


def reproduce(path: Path) -> int:
    """Run the input of a finding, or one of tests/fuzz/regressions; return 1 if it is a finding."""
    with tempfile.TemporaryDirectory() as scratch:
        outcome = judge(TARGETS[path.parent.name], path.read_bytes(), Path(scratch))
    print(f"{outcome.kind} {outcome.place}\n{outcome.report}")  # noqa: T201
    return int(outcome.finding)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def main(argv: Sequence[str]) -> int:
    """Fuzz, print a table, and return 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="for all targets together")
    parser.add_argument("--target", action="append", choices=[*TARGETS], help="only this one")
    parser.add_argument("--folder", type=Path, default=Path(f"{default_store()}-fuzz"))
    parser.add_argument("--reproduce", type=Path, metavar="FILE", help="run one input")
    arguments = parser.parse_args(argv)
    if arguments.reproduce:
        return reproduce(arguments.reproduce)
    if importlib.util.find_spec("atheris") is None:
        _say("atheris is not installed: inputs are not chosen by coverage")
    folder = arguments.folder.resolve()
    names = arguments.target or [*TARGETS]
    _say(f"corpus and findings: {folder}")
    results = []
    for name in names:
        results.append(fuzz(name, arguments.minutes * 60 / len(names), folder))
        _say(f"{name}: {results[-1].inputs} inputs, {len(results[-1].findings)} findings")
    _say(f"\n{'target':24}{'inputs':>10}{'findings':>10}")
    for each in results:
        _say(f"{each.target:24}{each.inputs:10}{len(each.findings):10}")
        for path in each.findings:
            _say(f"    {path}")
    return int(any(each.findings for each in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
