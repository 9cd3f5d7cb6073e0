# SPDX-License-Identifier: MIT
"""Run parts of the acceptance, or say which of them count for the present files."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.acceptance.parts import LONGEST, Part, read_parts
from tests.acceptance.record import (
    FAILED,
    INCOMPLETE,
    PASSED,
    WORK,
    Run,
    commit_of,
    keep,
    read_record,
    verdict,
)
from tests.fixtures.product import ROOT

UNFINISHED = "unfinished"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run parts or print their status; return 1 if a part did not pass, or does not count."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("run", help="run parts: those that are named, or all that do not count")
    verb.add_argument("names", nargs="*", metavar="PART")
    verb.add_argument(
        "--minutes",
        type=float,
        help="run as many parts as fit into this time, starting from a different one at each commit",
    )
    verbs.add_parser("status", help="say of each part whether its last run counts")
    given = parser.parse_args(arguments)
    parts = read_parts()
    if given.verb == "status":
        return status(parts)
    unknown = {*given.names} - parts.keys()
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    chosen = [parts[name] for name in given.names] or to_run(parts)
    if given.minutes is not None:
        chosen = in_turn(chosen, turn())
        return run_within(chosen, parts, given.minutes * 60)
    results = [run(part, parts) for part in chosen]
    return 0 if {*results} <= {PASSED} else 1


def status(parts: Mapping[str, Part]) -> int:
    """Print a line for each part; return 1 if one of them does not count."""
    record = read_record()
    verdicts = {name: verdict(part, record.get(name)) for name, part in parts.items()}
    width = max(map(len, parts))
    for name, (counts, why) in verdicts.items():
        print(f"{'ok' if counts else '--'}  {name:{width}}  {why}")  # noqa: T201
    missing = sum(not counts for counts, _ in verdicts.values())
    said = f"{missing} of {len(parts)} parts are to be run before a release"
    print(said if missing else "all parts passed on the present files")  # noqa: T201
    return 1 if missing else 0


def to_run(parts: Mapping[str, Part]) -> list[Part]:
    """Return the parts whose last run does not count."""
    record = read_record()
    return [part for name, part in parts.items() if not verdict(part, record.get(name))[0]]


def in_turn(parts: Sequence[Part], number: int) -> list[Part]:
    """Return the parts in their order, starting from the next one at each turn."""
    start = number % len(parts) if parts else 0
    return [*parts[start:], *parts[:start]]


def turn() -> int:
    """Return a number that differs from commit to commit, also where git knows one commit only."""
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True)
    return int(head, 16)


def run_within(chosen: Sequence[Part], parts: Mapping[str, Part], seconds: float) -> int:
    """Run the parts that fit into a time, by what their last runs took; return 1 if one fails.

    An incomplete one does not: the machine may lack what the skipped tests need.
    """
    end = time.monotonic() + seconds
    record = read_record()
    for part in chosen:
        last = record.get(part.name)
        needed = last.seconds * 1.5 if last and last.result == PASSED else LONGEST
        left = end - time.monotonic()
        if needed > left:
            say(f"{part.name} is left out: it may take {needed / 60:.0f} min, {left / 60:.0f} left")
        elif run(part, parts) not in (PASSED, INCOMPLETE):
            return 1
    return 0


def run(part: Part, parts: Mapping[str, Part]) -> str:
    """Run a part, from where an interrupted run of it stopped; record it if it came to its end.

    Returns its result, or `UNFINISHED` if it is not recorded.
    """
    digest, commit = part.digest(), commit_of(part)
    say(f"{part.name}: {part.summary}")
    progress = progress_file(part, digest)
    with temporary() as folder:
        status = pytest(
            *("-p", "tests.acceptance.progress", "--progress", str(progress)),
            *("--basetemp", str(folder / "pytest"), *part.tests),
        )
    # 1 is pytest's for failed tests, 5 for none left to run; all others are no whole run.
    if status not in (0, 1, 5) or not progress.exists():
        say(f"{part.name} was not finished (pytest's status {status})")
        return UNFINISHED
    tests = json.loads(progress.read_text())
    progress.unlink()
    if part.digest() != digest:
        say(f"{part.name} is not recorded: files that it covers were changed while it ran")
        return UNFINISHED
    found = summary(tests, digest=digest, commit=commit)
    keep(part, found, parts)
    say(f"{part.name}: {found.result}, {found.tests} tests in {found.seconds / 60:.0f} min")
    return found.result


def progress_file(part: Part, digest: str) -> Path:
    """Return the file with the outcomes of a part's run; those of other files' runs are removed."""
    WORK.mkdir(parents=True, exist_ok=True)
    file = WORK / f"{part.name}-{digest[:16]}.json"
    for old in WORK.glob(f"{part.name}-{'?' * 16}.json"):
        if old != file:
            old.unlink()
    return file


def pytest(*arguments: str) -> int:
    """Run pytest; return its status. An interrupt is pytest's to handle: it has to tidy up."""
    command = [sys.executable, "-m", "pytest", "-v", "--durations=10", *arguments]
    with subprocess.Popen(command, cwd=ROOT) as process:
        while True:
            with suppress(KeyboardInterrupt):
                return process.wait()


def summary(tests: Mapping[str, Mapping[str, Any]], *, digest: str, commit: str) -> Run:
    """Return what the record has of a run, from the outcomes of its tests."""
    failed = [f"{_short(name)} failed" for name, test in tests.items() if test["outcome"] == FAILED]
    skipped = [
        f"{_short(name)} skipped ({test['why']})"
        for name, test in tests.items()
        if test["outcome"] == "skipped"
    ]
    return Run(
        date=dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        commit=commit,
        digest=digest,
        result=FAILED if failed else INCOMPLETE if skipped else PASSED,
        tests=sum(test["outcome"] == "passed" for test in tests.values()),
        seconds=round(sum(test["seconds"] for test in tests.values())),
        problems=(*failed, *skipped),
    )


def _short(name: str) -> str:
    return name.rpartition("::")[2]


@contextmanager
def temporary() -> Iterator[Path]:
    """Give a directory for gigabytes that all users can read, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="acceptance-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def say(text: str) -> None:
    """Print a line of our own between those of pytest."""
    sys.stdout.write(f"\nacceptance: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
