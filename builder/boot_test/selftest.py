# SPDX-License-Identifier: MIT
"""A board that checks itself: the image's own command, and whether it finds what others find."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from builder.errors import StepError
from builder.spec.resolve import ImageSpec
from builder.target_tests.context import secrets
from builder.target_tests.session import Selection, variable

COMMAND = "board-selftest"
_LONGEST = 3600
"""Seconds that it may take."""


def run_selftest(spec: ImageSpec, shell: Sequence[str], *, selection: Selection) -> dict[str, Any]:
    """Have the board run its checks, with the secrets that the image does not hold.

    `shell` is the command that runs further words as root on the board.

    Raises:
        StepError: there is no report, or not in time.
    """
    values = spec.parameters()
    # Not among the words: everybody on this machine may list those of its processes.
    given = "".join(
        f"{variable(recipe, key)}={shlex.quote(str(values[recipe][key]))}\n"
        for recipe, keys in secrets(spec).items()
        for key in keys
    )
    words = [COMMAND, "--json", "-", *selection.for_selftest()]
    try:
        done = subprocess.run(
            [*shell, f'set -a; eval "$(cat)"; exec {shlex.join(words)} < /dev/null'],
            input=given,
            # Its progress, on stderr, is shown as it comes.
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=_LONGEST,
        )
    except subprocess.TimeoutExpired as error:
        raise StepError(f"{COMMAND} on the board takes more than {_LONGEST} s") from error
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise StepError(
            f"{COMMAND} on the board gives no report (status {done.returncode})",
            details=done.stdout.splitlines()[-20:],
        ) from error
    # No checks, by a selection that no name fits, are no success.
    if done.returncode != (0 if report["checks"] and not report["failed"] else 1):
        raise StepError(
            f"{COMMAND} on the board ends with status {done.returncode}, which is not what its "
            f"report says: {report['failed']} of {len(report['checks'])} checks failed"
        )
    return report


def differences(outside: Mapping[str, Any], board: Mapping[str, Any]) -> list[str]:
    """Say in which checks two reports differ, but for those that belong to one place alone."""
    seen, own = ({check["check"]: check for check in each["checks"]} for each in (outside, board))
    found = []
    for name in sorted({*seen, *own}):
        here, there = (reports.get(name, {}) for reports in (seen, own))
        results = [each.get("outcome", "not run") for each in (here, there)]
        elsewhere = there.get("only") == "outside" or here.get("only") == "board"
        if results[0] != results[1] and not elsewhere:
            why = next((each["why"] for each in (there, here) if "why" in each), "")
            found.append(f"{name}: {results[0]} from outside, {results[1]} on the board. {why}")
    return found
