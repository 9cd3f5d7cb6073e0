# SPDX-License-Identifier: MIT
"""The plans of several boards as one: what they have in common is one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from builder.plan.board_steps import BoardSteps
from builder.plan.plan import Planned
from builder.rootfs.bootstrap import Bootstrap
from builder.steps.step import Step

_MOST_NAMES = 3
"""Boards that a label names one by one."""


@dataclass(frozen=True, kw_only=True)
class BoardPlan:
    """A board's steps and what the plan says of them."""

    steps: BoardSteps
    plan: Sequence[Planned]


def merge_plans(plans: Mapping[str, Sequence[Planned]]) -> list[Planned]:
    """Return one plan for the boards whose plans these are, each step after its parents.

    Steps of one name that are made of the same become one. Its reason is that of the first board that has one:
    a kept output may be found to be damaged by a board that has to read it.
    """
    same: dict[tuple[str, str], list[tuple[str, Planned]]] = {}
    identities: dict[Step, str] = {}
    for board, plan in plans.items():
        for item in plan:
            identities[item.step] = item.identity
            same.setdefault((item.identity, item.step.name), []).append((board, item))
    return [_one(items, identities, several=len(plans) > 1) for items in same.values()]


def _one(
    items: Sequence[tuple[str, Planned]], identities: Mapping[Step, str], *, several: bool
) -> Planned:
    boards = tuple(board for board, _ in items)
    first, *others = (item for _, item in items)
    return replace(
        first,
        reason=next((item.reason for _, item in items if item.reason), None),
        needed=any(item.needed for _, item in items),
        boards=boards,
        merged_steps=tuple(item.step for item in others),
        whose=_named(boards) if several else "",
        root=_root(first, identities),
    )


def _named(boards: Sequence[str]) -> str:
    """Name boards in a few words, by which steps of one name differ: no board has two of them."""
    if len(boards) > _MOST_NAMES:
        return f"{boards[0]} and {len(boards) - 1} more"
    return ", ".join(boards)


def _root(item: Planned, identities: Mapping[Step, str]) -> str | None:
    """Return the root filesystem that a step works in: the identity of its lowest layer."""
    steps = (item.step, *item.step.parents.values())
    return next((identities[step] for step in steps if isinstance(step, Bootstrap)), None)
