# SPDX-License-Identifier: MIT
"""Merge of the plans of several boards into one plan without duplicate steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from builder.plan.board_steps import BoardSteps
from builder.plan.plan import Planned
from builder.rootfs.bootstrap import Bootstrap
from builder.steps.step import Step

_MOST_NAMES = 3
"""Maximum number of boards that a label names; beyond it, the label states their number."""


@dataclass(frozen=True, kw_only=True)
class BoardPlan:
    """The steps of a board and their plan."""

    steps: BoardSteps
    plan: Sequence[Planned]


def merge_plans(plans: Mapping[str, Sequence[Planned]]) -> list[Planned]:
    """Return one plan for several boards, given by name, with parents before children.

    Steps with the same name and identity are merged. The merged step takes the first reason that one
    of its boards has: only a board that reads a cached output finds that it is damaged.
    """
    same: dict[tuple[str, str], list[tuple[str, Planned]]] = {}
    identities: dict[Step, str] = {}
    for board, plan in plans.items():
        for item in plan:
            identities[item.step] = item.identity
            same.setdefault((item.identity, item.step.name), []).append((board, item))
    return [_merged(items, identities, several=len(plans) > 1) for items in same.values()]


def _merged(
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
        qualifier=_summary(boards) if several else "",
        root=_root(first, identities),
    )


def _summary(boards: Sequence[str]) -> str:
    """Return the names of boards in a few words.

    It is unique among the steps of the same name, because no board has two of these.
    """
    if len(boards) > _MOST_NAMES:
        return f"{boards[0]} and {len(boards) - 1} more"
    return ", ".join(boards)


def _root(item: Planned, identities: Mapping[Step, str]) -> str | None:
    """Return the identity of the lowest layer of the root filesystem that a step works in."""
    steps = (item.step, *item.step.parents.values())
    return next((identities[step] for step in steps if isinstance(step, Bootstrap)), None)
