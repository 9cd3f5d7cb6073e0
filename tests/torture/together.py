# SPDX-License-Identifier: MIT
"""Builds of different boards, and other commands, at once in one store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from builder.store.locks import locked
from tests.torture.figures import Figures
from tests.torture.ground import LONGEST, Broken, Ended, Ground

SECOND = "ZedBoard"
_DEEP = 0.15


def run(ground: Ground, figures: Figures) -> None:
    """Run builds and commands side by side."""
    ground.reset()
    boards = (ground.board, SECOND)
    images = {ground.board: ground.images["plain"], SECOND: _reference(ground)}
    for each in figures.each():
        ground.spoil(each, deep=_DEEP)
        builds = {}
        for board in each.sample(boards, len(boards)):
            builds[board] = ground.start("plain", "--offline", board=board)
            time.sleep(each.uniform(0, 3))
        others = _commands(ground, each.sample(range(4), 4))
        figures.count("commands", len(others))
        figures.wrong("beside two builds", [text for text in others if text])
        for board, build in builds.items():
            ended = build.ended()
            right = ended.status == 0 and ground.image(board) == images[board]
            figures.count("right images" if right else f"status {ended.status}, no right image")
            if not right:
                figures.wrong(board, [f"status {ended.status}, no right image: {ended.end}"])
        figures.wrong("two builds", ground.problems())


def _reference(ground: Ground) -> str:
    """Build the second board once, alone.

    Raises:
        Broken: that fails.
    """
    ended = ground.start("plain", "--offline", board=SECOND).ended(4 * LONGEST)
    image = ground.image(SECOND)
    if ended.status != 0 or image is None:
        raise Broken(f"the reference build of {SECOND} failed: {ended.end}")
    return image


def _commands(ground: Ground, order: Sequence[int]) -> list[str]:
    """Run other commands; return a text for each, empty if it did what it should."""
    elsewhere = ground.publishing_to(ground.output.with_name(f"{ground.output.name}.empty"))
    plan = ["--board", ground.board, *ground.words, "--offline"]

    def clean_all() -> Ended:
        # Whether a build is at work already is chance; that the store is in use is not.
        with locked(ground.store / "locks/in-use.lock", shared=True):
            return elsewhere.run("clean", "--store-too", "--yes")

    commands: list[tuple[str, int, Callable[[], Ended]]] = [
        ("cache", 0, lambda: ground.run("cache")),
        ("plan", 0, lambda: ground.run("plan", *plan)),
        ("clean", 0, lambda: elsewhere.run("clean", "--yes")),
        ("clean --store-too", 2, clean_all),
    ]
    found = []
    for number in order:
        name, status, run_it = commands[number]
        ended = run_it()
        good = ended.status == status and "Traceback" not in ended.said
        found.append("" if good else f"{name}: status {ended.status}: {ended.end}")
    return found
