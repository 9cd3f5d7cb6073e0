# SPDX-License-Identifier: MIT
"""Benchmarks: measure sections, and print a table for each (`make bench`)."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import boot, buffers, builds, image, profiles, rootfs
from bench.measure import Row, as_json, markdown
from builder.cli.context import ROOT, default_store
from builder.engine.host import available_memory
from builder.errors import BuildError
from builder.store.store import write_atomically

SECTIONS: dict[str, tuple[str, Callable[[Path, bool], list[Row]]]] = {
    "rootfs": ("Root filesystem", rootfs.run),
    "builds": ("Builds of a board", builds.run),
    "image": ("Card image", image.run),
    "boot": ("Boot under QEMU", boot.run),
    "profiles": ("Profiles", profiles.run),
    "buffers": ("Buffers for the programmable logic", buffers.run),
}


def main() -> int:
    """Measure the sections that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "section", nargs="*", help=f"section to measure: {', '.join(SECTIONS)} (default: all)"
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="also measure other builders on the same task, emulated (takes tens of minutes)",
    )
    parser.add_argument("--json", type=Path, default=ROOT / "output/bench.json", metavar="FILE")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.section if name not in SECTIONS]
    if unknown:
        parser.error(f"there is no section {unknown[0]}")
    # SIGTERM must end the measured command too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = _previous_results(arguments.json)
    # Builds use the disk of the store: measure on the same one.
    scratch = default_store().parent
    with tempfile.TemporaryDirectory(prefix="builder-bench-", dir=scratch) as folder:
        for name in arguments.section or SECTIONS:
            title, run = SECTIONS[name]
            place = Path(folder) / name
            place.mkdir()
            try:
                rows = run(place, arguments.peers)
            except BuildError as error:
                sys.stderr.write("\n".join([f"bench {name}: {error}", *error.details, ""]))
                return error.exit_code
            sys.stdout.write(f"{markdown(title, rows)}\n")
            sys.stdout.flush()
            # Write after each section, so that a failure of the next one loses nothing.
            results[name] = as_json(rows)
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(arguments.json, json.dumps(results, indent=1))
    return 0


def _previous_results(path: Path) -> dict[str, object]:
    """Return a description of this machine and earlier results from it by section."""
    machine: dict[str, object] = {
        "machine": platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory": available_memory(),
    }
    try:
        before = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return machine
    same = all(before.get(key) == value for key, value in machine.items() if key != "memory")
    return {**before, **machine} if same else machine


if __name__ == "__main__":
    sys.exit(main())
