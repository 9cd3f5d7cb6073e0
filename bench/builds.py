# SPDX-License-Identifier: MIT
"""Builds of a board: cold, without changes, after a change, and of a second board."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class _Checkout:
    """A copy of the checkout that may be changed, with a store of its own in `place`."""

    place: Path
    tree: Path
    store: Path

    @classmethod
    def create(cls, place: Path) -> _Checkout:
        """Copy the checkout; create a store that shares downloads with the user's store."""
        tree, store = place / "tree", place / "store"
        ignored = shutil.ignore_patterns(".git", ".venv", "output", ".*cache")
        shutil.copytree(ROOT, tree, ignore=ignored)
        (tree / ".venv").symlink_to(ROOT / ".venv")
        new_store(store)
        return cls(place=place, tree=tree, store=store)

    @property
    def output(self) -> Path:
        """The directory with the output of all boards."""
        return self.place / "output"

    @property
    def program(self) -> tuple[Path, Path]:
        """The command that runs its build.py."""
        return self.tree / ".venv/bin/python", self.tree / "build.py"

    def build(self, title: str, board: str = BOARD, *more: str | Path) -> Cost:
        """Build a board; return the cost."""
        return build(self.tree, self.place, title, board, "--store", self.store, *more)


def run(place: Path, peers: bool) -> list[Row]:  # noqa: ARG001, FBT001 - the sections' one signature
    """Build from an empty store that shares downloads with the user's store."""
    checkout = _Checkout.create(place)
    cold = checkout.build("cold build")
    longest = _longest_path(checkout.tree, checkout.store, checkout.output)
    again = checkout.build("nothing changed")
    rows = [
        seconds(
            "cold build: wall", cold.wall, "sum of the steps on its longest path", longest, 1.2
        ),
        *_unchanged(checkout, again),
    ]
    recipes = _changed_recipes(checkout)
    rows += [
        seconds(f"{title}: wall", cost.wall, f"{_RECIPE_SECONDS:.0f} s", _RECIPE_SECONDS, 1)
        for title, cost in recipes.items()
    ]
    changes = {"nothing changed": again, **recipes, **_other_changes(checkout)}
    rows += [
        row for title, cost in changes.items() for row in costs(title, cost, "cold build", cold)
    ]
    data = (checkout.output / BOARD / f"{BOARD}.img").stat().st_blocks * 512
    sizes = (
        ("cold build: peak memory", cold.memory, "its image's data"),
        ("the store after all of these", _size(checkout.store), "one image's data"),
    )
    return rows + [
        Row(what=what, ours=size, unit="bytes", against=against, reference=data)
        for what, size, against in sizes
    ]


def _unchanged(checkout: _Checkout, again: Cost) -> list[Row]:
    """Return the rows for a build without changes and for the verification of the store."""
    start = cost_of([*checkout.program, "--help"])
    verifying = _verifying(checkout.tree, checkout.store)
    verified = cost_of(
        [*checkout.program, "cache", "--verify", "--store", checkout.store, "--engine", "host"]
    )
    summed = cost_of(
        ["find", checkout.store / "entries", "-type", "f", "-exec", "sha256sum", "{}", "+"],
    )
    return [
        seconds(
            "nothing changed: wall after Python's start", again.wall - start.wall, "1 s", 1.0, 1
        ),
        seconds("nothing changed: verifying what is read", verifying, "all of it", again.wall),
        seconds("cache --verify: wall", verified.wall, "sha256sum, one by one", summed.wall),
    ]


def _changed_recipes(checkout: _Checkout) -> dict[str, Cost]:
    """Return the costs of builds after changes of recipes, by their titles."""
    found = {}
    for name, path in _RECIPES.items():
        _append(checkout.tree / path, "# changed")
        title = f"a file of recipe {name} changed"
        found[title] = checkout.build(title)
        _check_no_packages(checkout.output)
    return found


def _other_changes(checkout: _Checkout) -> dict[str, Cost]:
    """Return the costs of builds after other changes, by their titles."""
    _append(checkout.tree / _FRAGMENT, _OPTION)
    option = checkout.build("a kernel option changed")
    patched = _with_patched_driver(checkout.tree, checkout.store, checkout.place)
    driver = checkout.build("a driver's source patched", BOARD, "--boards-dir", patched)
    _append(checkout.tree / _CODE, "_CHANGED = True")
    code = checkout.build("the code of steps changed")
    _check_carried_out_once(checkout.output)
    boards = _second_board(checkout.tree, checkout.place)
    second = checkout.build("second board", SECOND, "--boards-dir", boards)
    return {
        "a kernel option changed": option,
        "a driver's source patched": driver,
        "the code of steps changed": code,
        "second board of the family": second,
    }


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
    (top,) = sources.iterdir()
    _append(top / _DRIVER, "int patched_for_measurement = 1;")
    subprocess.run(["tar", "-C", sources, "--zstd", "-cf", archive, top.name], check=True)
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
