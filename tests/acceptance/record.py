# SPDX-License-Identifier: MIT
"""Record of the acceptance: which part ran whole, when, at which commit, with which result.

The record is docs/acceptance.json; the status page shows it as a table.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from tests.acceptance.parts import Part
from tests.fixtures.product import ROOT

RECORD = ROOT / "docs/acceptance.json"
PAGE = ROOT / "docs/status.md"
BEGIN, END = "<!-- acceptance: begin -->", "<!-- acceptance: end -->"
WORK = ROOT / "output/acceptance"
"""Directory with the outcomes of unfinished runs."""

FEW = 3
"""How many names a line tells."""

PASSED, INCOMPLETE, FAILED = "passed", "incomplete", "failed"
"""Results of a part. It is incomplete if a test was skipped."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A whole run of a part.

    `seconds` is the sum over its tests; `digest` is that of the files that the part covers;
    `problems` names what failed, or was skipped and why.
    """

    date: str
    commit: str
    digest: str
    result: str
    tests: int
    seconds: int
    problems: tuple[str, ...] = ()


def read_record() -> dict[str, Run]:
    """Return the last whole run of each part that has had one."""
    if not RECORD.exists():
        return {}
    return {
        name: Run(**{**each, "problems": tuple(each["problems"])})
        for name, each in json.loads(RECORD.read_text()).items()
    }


def keep(part: Part, run: Run, parts: Mapping[str, Part]) -> None:
    """Put a run into the record, and the record into the status page."""
    with _locked():
        record = {**read_record(), part.name: run}
        listed = {name: asdict(record[name]) for name in parts if name in record}
        RECORD.write_text(json.dumps(listed, indent=1) + "\n")
        PAGE.write_text(with_table(PAGE.read_text(), table(parts, record)))


@contextmanager
def _locked() -> Iterator[None]:
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def table(parts: Mapping[str, Part], record: Mapping[str, Run]) -> str:
    """Return the record as a table of Markdown."""
    lines = ["| part | tests | last run | commit | result | minutes |", "|---|---|---|---|---|---|"]
    for name, part in parts.items():
        run = record.get(name)
        cells = (
            (run.date, f"`{run.commit}`", _told(run), str(round(run.seconds / 60)))
            if run
            else ("never", "", "", "")
        )
        lines.append(f"| `{name}` | {part.summary} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _told(run: Run) -> str:
    text = f"{run.result}, {run.tests} tests"
    return f"{text}: {_few(run.problems)}".replace("|", "\\|") if run.problems else text


def _few(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"{'; '.join(names[:FEW])}{more}"


def with_table(page: str, text: str) -> str:
    """Return the status page with a table in the place of the one that it has."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def verdict(part: Part, run: Run | None) -> tuple[bool, str]:
    """Say whether a part's last run counts for the present files, and why not."""
    if run is None:
        return False, "never run"
    when = f"{run.date} at {run.commit}, {round(run.seconds / 60)} min"
    if run.result != PASSED:
        return False, f"{run.result} ({when}): {_few(run.problems)}"
    if run.digest != part.digest():
        changed = _changed(part, run.commit)
        return False, f"passed ({when}), but what it covers has changed{changed}"
    return True, f"passed ({when})"


def _changed(part: Part, commit: str) -> str:
    """Name some of the files that have changed since a commit, if git knows it."""
    done = subprocess.run(
        ["git", "diff", "--name-only", commit.removesuffix("+"), "--", *part.covers],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    names = done.stdout.split()
    if done.returncode != 0 or not names:
        return ""
    return f": {_few(names)}"


def commit_of(part: Part) -> str:
    """Return the commit that is checked out, with a + if what the part covers differs from it."""
    head = _git("rev-parse", "--short=10", "HEAD").strip()
    dirty = _git("status", "--porcelain", "--", *part.covers).strip()
    return f"{head}+" if dirty else head


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
