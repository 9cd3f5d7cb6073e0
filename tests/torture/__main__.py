# SPDX-License-Identifier: MIT
"""`make torture`, or `python -m tests.torture [PART ...]`: does harm to builds of a real board.

Needs root, and a machine on which builds run without containers.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.cli.context import default_store
from builder.scheduler.ownership import give_to_caller
from builder.store.files import write_atomically
from tests.fixtures.product import ROOT
from tests.torture import disk, flips, kills, mirror, together
from tests.torture.figures import Figures, say, table
from tests.torture.ground import Broken, Ground
from tests.torture.traces import adopt_orphans, leftovers

_OWN_MOUNTS = "TORTURE_OWN_MOUNTS"
"""Variable that says that this process has a mount namespace of its own."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A kind of harm, and how many rounds and minutes of it there are by default."""

    run: Callable[[Ground, Figures], None]
    rounds: int
    minutes: float


PARTS = {
    "kills": Part(run=kills.run, rounds=200, minutes=30),
    "disk": Part(run=disk.run, rounds=10, minutes=8),
    "flips": Part(run=flips.run, rounds=20, minutes=8),
    "together": Part(run=together.run, rounds=5, minutes=6),
    # The last one: it fetches the package indexes anew.
    "mirror": Part(run=mirror.run, rounds=4, minutes=8),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run parts; return 1 if a problem was found."""
    given = _parser().parse_args(arguments)
    unknown = {*given.part} - PARTS.keys()
    if unknown:
        say(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
        return 2
    if os.geteuid() != 0:
        say("this needs root: builds without containers, mounts")
        return 2
    _have_own_mounts()
    adopt_orphans()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = [name for name in PARTS if name in given.part or not given.part]
    seed = secrets.randbelow(1 << 32) if given.seed is None else given.seed
    say(f"seed {seed}")
    with _store(given.store) as store:
        ground = Ground(
            command=[sys.executable, str(ROOT / "build.py")],
            board="Pynq-Z2",
            words=["--profile", given.profile, "--engine", "host"],
            store=store,
            output=store.with_name(f"{store.name}.output"),
        )
        parts = _run(names, ground, given, seed)
    found = {"commit": _commit(), **{each.part: each.as_json() for each in parts}}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(given.json, json.dumps(found, indent=1) + "\n")
    give_to_caller(given.json)
    sys.stdout.write(f"\n{table(parts)}\n")
    return 1 if any(each.failed for each in parts) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--seed", type=int, help="repeat the choices of a run (default: random)")
    parser.add_argument("--rounds", type=int, help="rounds of each part, at most")
    parser.add_argument("--minutes", type=float, help="minutes of each part, at most")
    parser.add_argument("--profile", default="minimal", help="what is built (default: %(default)s)")
    parser.add_argument(
        "--store", type=Path, help="store to do harm in, which stays (default: one that is removed)"
    )
    parser.add_argument(
        "--store-from",
        type=Path,
        default=default_store(),
        help="copy kernel, U-Boot and the like from this store if they fit (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, default=ROOT / "output/torture.json", metavar="FILE")
    return parser


def _run(
    names: Sequence[str], ground: Ground, given: argparse.Namespace, seed: int
) -> list[Figures]:
    """Run parts one after the other. One that cannot go on does not stop the others."""
    done: list[Figures] = []
    ground.prepare(given.store_from)
    for name in names:
        part = PARTS[name]
        figures = Figures(
            part=name,
            seed=seed,
            most=given.rounds or part.rounds,
            minutes=given.minutes or part.minutes,
        )
        done.append(figures)
        say(f"{name}: at most {figures.most} rounds, {figures.minutes:g} min")
        try:
            part.run(ground, figures)
        except Broken as error:
            figures.wrong("not finished", [str(error)])
        except KeyboardInterrupt:
            figures.wrong("not finished", ["interrupted"])
            leftovers(ground.store, 0)
            break
        say(f"{name}: {json.dumps(figures.as_json()['counts'])}, {figures.failed} problems")
    return done


@contextmanager
def _store(given: Path | None) -> Iterator[Path]:
    """Give the place of the store; beside it there is room for what goes with it."""
    if given:
        given.parent.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="torture-", dir="/var/tmp"))
    try:
        yield folder / "store"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _have_own_mounts() -> None:
    """Start again with a mount namespace of its own: its mounts end with it, however it ends."""
    if os.environ.pop(_OWN_MOUNTS, None) is None:
        own = ["unshare", "--mount", "--propagation", "private", "--"]
        again = [sys.executable, "-m", "tests.torture", *sys.argv[1:]]
        os.environ[_OWN_MOUNTS] = "1"
        sys.stdout.flush()
        os.execvp(own[0], [*own, *again])  # noqa: S606


def _commit() -> str:
    said = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
