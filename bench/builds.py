# SPDX-License-Identifier: MIT
"""Builds of a board: cold, without changes, after a change, and of a second board."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

from bench.board import BOARD, build, new_store, steps_of
from bench.measure import Cost, Row, cost_of, costs, seconds
from builder.cli.context import ROOT
from builder.errors import StepError
from builder.plan.plan import make_plan
from builder.steps.step import Step
from builder.store.checksum import sha256

SECOND = "Second"
_RECIPES = {
    "ssh": "recipes/ssh/templates/sshd.conf.j2",
    "base": "recipes/base/recipe.yaml",
}
"""A file of a recipe in the middle of the profile, and of the lowest recipe.

A change of the latter rebuilds all layers of recipes.
"""
_RECIPE_SECONDS = 20.0
_FRAGMENT = "petalinux_bsp/meta-user/recipes-kernel/linux/linux-xlnx/filesystems.cfg"
_OPTION = "CONFIG_PPS=y"
_DRIVER = "drivers/uio/uio.c"
_CODE = "builder/steps/layer_archive.py"
"""A module that the steps of all layers and of the kernel import."""


def run(place: Path, peers: bool) -> list[Row]:  # noqa: ARG001, FBT001 - the sections' one signature
    """Build from an empty store that shares downloads with the user's store."""
    tree = place / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "output", ".*cache"))
    (tree / ".venv").symlink_to(ROOT / ".venv")
    store = place / "store"
    new_store(store)

    def built(what: str, board: str = BOARD, *more: str | Path) -> Cost:
        return build(tree, place, what, board, "--store", store, *more)

    start = cost_of([tree / ".venv/bin/python", tree / "build.py", "--help"])
    cold = built("cold build")
    longest = _longest_path(tree, store, place / "output")
    again = built("nothing changed")
    verifying = _verifying(tree, store)
    verified = cost_of(
        [
            *(tree / ".venv/bin/python", tree / "build.py", "cache", "--verify"),
            *("--store", store, "--engine", "host"),
        ]
    )
    summed = cost_of(
        ["find", store / "entries", "-type", "f", "-exec", "sha256sum", "{}", "+"],
    )
    touched = {}
    for name, path in _RECIPES.items():
        _append(tree / path, "# changed")
        touched[name] = built(f"a file of recipe {name} changed")
        _check_no_packages(place / "output")
    _append(tree / _FRAGMENT, _OPTION)
    option = built("a kernel option changed")
    driver = built(
        "a driver's source patched", BOARD, "--boards-dir", _with_patched_driver(tree, store, place)
    )
    _append(tree / _CODE, "_CHANGED = True")
    code = built("the code of steps changed")
    _check_carried_out_once(place / "output")
    second = built("second board", SECOND, "--boards-dir", _second_board(tree, place))
    data = (place / "output" / BOARD / f"{BOARD}.img").stat().st_blocks * 512
    return [
        seconds(
            "cold build: wall", cold.wall, "sum of the steps on its longest path", longest, 1.2
        ),
        seconds(
            "nothing changed: wall after Python's start", again.wall - start.wall, "1 s", 1.0, 1
        ),
        seconds("nothing changed: verifying what is read", verifying, "all of it", again.wall),
        seconds("cache --verify: wall", verified.wall, "sha256sum, one by one", summed.wall),
        *(
            seconds(
                f"a file of recipe {name} changed: wall",
                cost.wall,
                f"{_RECIPE_SECONDS:.0f} s",
                _RECIPE_SECONDS,
                1,
            )
            for name, cost in touched.items()
        ),
        *costs("nothing changed", again, "cold build", cold),
        *(
            row
            for name, cost in touched.items()
            for row in costs(f"a file of recipe {name} changed", cost, "cold build", cold)
        ),
        *costs("a kernel option changed", option, "cold build", cold),
        *costs("a driver's source patched", driver, "cold build", cold),
        *costs("the code of steps changed", code, "cold build", cold),
        *costs("second board of the family", second, "cold build", cold),
        Row(
            what="cold build: peak memory",
            ours=cold.memory,
            unit="bytes",
            against="its image's data",
            reference=data,
        ),
        Row(
            what="the store after all of these",
            ours=_size(store),
            unit="bytes",
            against="one image's data",
            reference=data,
        ),
    ]


def _check_no_packages(output: Path) -> None:
    """Check that the last build did not run apt.

    Raises:
        StepError: It did.
    """
    manifest = json.loads((output / BOARD / "manifest.json").read_text())
    made = {step["name"] for step in manifest["steps"] if not step["kept"]}
    if "bootstrap" in made:
        raise StepError("the packages were installed again")


def _longest_path(tree: Path, store: Path, output: Path) -> float:
    """Return the sum of the step times on the longest path of the plan in seconds."""
    manifest = json.loads((output / BOARD / "manifest.json").read_text())
    seconds = {step["name"]: step["seconds"] or 0.0 for step in manifest["steps"]}
    steps = steps_of(tree, new_store(store))
    taken: dict[Step, float] = {}
    for item in make_plan(steps.targets, new_store(store)):
        before = [taken[parent] for parent in item.step.parents.values()]
        taken[item.step] = seconds[item.step.name] + max(before, default=0.0)
    return max(taken.values())


def _verifying(tree: Path, store: Path) -> float:
    """Return the time in seconds that a build without changes takes to verify cached outputs."""
    cached = new_store(store)
    steps = steps_of(tree, cached)
    read = {*steps.targets, *steps.checks, *steps.shown}
    plan = make_plan(steps.targets, cached, optional=steps.checks, shown=steps.shown)
    started = time.monotonic()
    for item in plan:
        if item.step in read and item.key:
            cached.damage(item.key)
    return time.monotonic() - started


def _check_carried_out_once(output: Path) -> None:
    """Check that a code change without effect on outputs did not rebuild the image.

    Raises:
        StepError: It did.
    """
    manifest = json.loads((output / BOARD / "manifest.json").read_text())
    made = {step["name"] for step in manifest["steps"] if not step["kept"]}
    if made & {"image", "boot-files"}:
        raise StepError(f"the image was built again: {', '.join(sorted(made))}")


def _append(path: Path, line: str) -> None:
    path.write_text(f"{path.read_text()}\n{line}\n")


def _with_patched_driver(tree: Path, store: Path, place: Path) -> Path:
    """Create a copy of the board with a patched kernel; return the boards directory."""
    cached = new_store(store)
    steps = {item.step.name: item for item in make_plan(steps_of(tree, cached).targets, cached)}
    entry = cached.get(steps["linux-source"].key or "")
    assert entry
    package, sources = next(entry.files.glob("*.deb")), place / "linux"
    archive = place / "linux.tar.zst"
    subprocess.run(["dpkg-deb", "--extract", package, place / "package"], check=True)
    (packed,) = (place / "package/usr/src").glob("*.tar.*")
    sources.mkdir()
    subprocess.run(["tar", "-C", sources, "-xf", packed], check=True)
    (driver,) = sources.glob(f"*/{_DRIVER}")
    _append(driver, "int patched_for_measurement = 1;")
    subprocess.run(["tar", "-C", sources, "--zstd", "-cf", archive, "."], check=True)
    boards = place / "patched"
    shutil.copytree(tree / "boards" / BOARD, boards / BOARD)
    board_file = boards / BOARD / "board.yaml"
    linux = f"bsp:\n  linux: {{url: 'file://{archive}', sha256: {sha256(archive)}}}\n"
    board_file.write_text(board_file.read_text().replace("bsp:\n", linux))
    return boards


def _second_board(tree: Path, place: Path) -> Path:
    """Create a copy of the board under another name; return the boards directory."""
    boards = place / "boards"
    target = boards / SECOND
    shutil.copytree(tree / "boards" / BOARD, target)
    for path in target.rglob("*"):
        if path.suffix in {".yaml", ".dts", ".json"}:
            text = path.read_text()
            if path.suffix == ".dts" or path.name == "board.yaml":
                path.write_text(text.replace(BOARD, SECOND))
    return boards


def _size(store: Path) -> int:
    return sum(
        json.loads(path.read_text()).get("size", 0) for path in store.glob("entries/*/entry.json")
    )
