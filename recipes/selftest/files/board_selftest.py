#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs the checks of this image on the board itself; ends with 0 if none fails, else with 1."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HOME = Path("/usr/share/board-selftest")
OF_LOGINS = Path("/etc/environment")
sys.dont_write_bytecode = True
sys.path.insert(0, str(HOME))

from builder.target_tests import session  # noqa: E402 - the image has it beside its checks


def main() -> int:
    """Run pytest and say what came of it."""
    parser = argparse.ArgumentParser(prog="board-selftest", description=__doc__)
    parser.add_argument("-k", metavar="EXPRESSION", help="only checks with these names, as pytest")
    parser.add_argument("--quick", action="store_true", help="leave out the checks that take long")
    parser.add_argument(
        "--json", metavar="FILE", help="write the report as JSON into a file, or - to print it"
    )
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("the checks look at all of the system: sudo board-selftest")
    to_file = arguments.json not in (None, "-")
    if to_file and not Path(arguments.json).resolve().parent.is_dir():
        parser.error(f"--json {arguments.json}: there is no such directory")
    # Whoever prints the report has nothing else there.
    say = sys.stderr if arguments.json == "-" else sys.stdout
    with tempfile.TemporaryDirectory(prefix="board-selftest-") as folder:
        report = Path(folder) / "report.json"
        selection = session.Selection(arguments.k, arguments.quick)
        words = session.words(HOME / "context.json", report, root=HOME, selection=selection)
        status = subprocess.run(
            [sys.executable, *words], env=environment(), stdout=say, check=False
        ).returncode
        if not report.exists():
            return 1
        text = report.read_text()
    found = json.loads(text)
    counts = ", ".join(f"{found[each]} {each}" for each in ("passed", "failed", "skipped"))
    where = "emulated " if found["emulated"] else ""
    print(f"{where}{found['board']}, {found['distribution']}: {counts}", file=say)
    if to_file:
        Path(arguments.json).write_text(text)
    elif arguments.json:
        sys.stdout.write(text)
    if not found["checks"]:
        sys.stderr.write("no check has such a name\n")
    return 0 if status == 0 else 1


def environment() -> dict[str, str]:
    """Return what checks find around them, whoever calls: root's login, and secrets if given."""
    secrets = {name: value for name, value in os.environ.items() if name.startswith("PARAM_")}
    return {
        **of_logins(),
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(HOME),
        **session.ENVIRONMENT,
        **secrets,
    }


def of_logins() -> dict[str, str]:
    """Return what every login finds around it, as pam_env(8) reads it; PYNQ looks for its XRT there."""
    text = OF_LOGINS.read_text() if OF_LOGINS.exists() else ""
    found = {}
    for line in text.splitlines():
        setting = line.partition("#")[0].strip().removeprefix("export ")
        name, equals, value = setting.partition("=")
        if equals:
            found[name] = value.strip("\"'")
    return found


if __name__ == "__main__":
    sys.exit(main())
