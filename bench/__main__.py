# SPDX-License-Identifier: MIT
"""`make bench`, or `python -m bench [SECTION ...]`: measures, and prints a table."""

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
from builder.store.files import write_atomically

SECTIONS: dict[str, tuple[str, Callable[[Path, bool], list[Row]]]] = {
    "rootfs": ("Root filesystem", rootfs.run),
    "builds": ("Builds of a board", builds.run),
    "image": ("Card image", image.run),
    "boot": ("Boot under QEMU", boot.run),
    "profiles": ("Profiles", profiles.run),
    "buffers": ("Buffers for the programmable logic", buffers.run),
}


def main() -> int:
    """Measure the sections that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("section", nargs="*", help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument(
        "--peers",
        action="store_true",
        help="also run the same work as other builders do it, all emulated (tens of minutes)",
    )
    parser.add_argument("--json", type=Path, default=ROOT / "output/bench.json", metavar="FILE")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.section if name not in SECTIONS]
    if unknown:
        parser.error(f"there is no section {unknown[0]}")
    # However it is ended, what is being measured ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found = _found(arguments.json)
    # On the disk that the store is on: that is where builds happen.
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
            # What was measured is kept, whatever becomes of the next section.
            found[name] = as_json(rows)
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(arguments.json, json.dumps(found, indent=1))
    return 0


def _found(path: Path) -> dict[str, object]:
    """Return what other sections have found on this machine before, and what machine it is."""
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
