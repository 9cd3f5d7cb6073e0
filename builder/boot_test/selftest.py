# SPDX-License-Identifier: MIT
"""Self-test on the board, and the comparison of its results with those of the host."""

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
"""Time limit of the self-test in seconds."""


def run_selftest(spec: ImageSpec, shell: Sequence[str], *, selection: Selection) -> dict[str, Any]:
    """Run the checks on the board itself and return their report.

    Secret parameters are passed to it, since the image does not contain them.

    Args:
        spec: the image.
        shell: the command that runs a command line as root on the board.
        selection: the checks to run.

    Raises:
        StepError: there is no report, or not in time, or the exit status contradicts it.
    """
    values = spec.parameters()
    # On standard input, since every user of the host can list the command lines of processes.
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
            # Standard error is not captured, so that progress is visible.
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=_LONGEST,
        )
    except subprocess.TimeoutExpired as error:
        raise StepError(f"{COMMAND} on the board took more than {_LONGEST} s") from error
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise StepError(
            f"{COMMAND} on the board printed no report (status {done.returncode})",
            details=done.stdout.splitlines()[-20:],
        ) from error
    # A selection that matches no check is a failure.
    if done.returncode != (0 if report["checks"] and not report["failed"] else 1):
        raise StepError(
            f"{COMMAND} on the board ended with status {done.returncode}, which contradicts its "
            f"report: {report['failed']} of {len(report['checks'])} checks failed"
        )
    return report


def differences(outside: Mapping[str, Any], board: Mapping[str, Any]) -> list[str]:
    """Return a line for each check with different results from the host and on the board.

    Checks that are limited to one of the two places are skipped.
    """
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
