# SPDX-License-Identifier: MIT
"""The plan: each step's fingerprint, whether it is kept, and the one reason if not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from builder.plan.fingerprint import components, key, reason
from builder.steps.step import Step
from builder.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A step in a plan. `reason` is None if its output is kept.

    `needed` is False for what is not kept and need not be made, because everything that stands
    on it is kept.
    """

    step: Step
    key: str
    components: Mapping[str, str]
    reason: str | None
    needed: bool

    @property
    def kept(self) -> bool:
        """Whether there is nothing to do for this step."""
        return self.reason is None or not self.needed


def make_plan(targets: Iterable[Step], store: Store) -> list[Planned]:
    """Return the steps that `targets` need, themselves included, each after its parents."""
    targets = list(targets)
    ordered: list[Step] = []
    for target in targets:
        _visit(target, ordered)
    keys: dict[Step, str] = {}
    parts: dict[Step, dict[str, str]] = {}
    reasons: dict[Step, str | None] = {}
    secret = store.secret()
    for step in ordered:
        parents = {name: keys[parent] for name, parent in step.parents.items()}
        parts[step] = components(step, parents, secret=secret)
        keys[step] = key(parts[step])
        if store.get(keys[step]):
            reasons[step] = None
        else:
            own = reason(parts[step], store.last(step.scope, step.name))
            changed = next((n for n, parent in step.parents.items() if reasons[parent]), None)
            follows = own.endswith(" is another") or own.startswith("not in the store")
            reasons[step] = f"{changed} is built" if changed and follows else own
    needed: set[Step] = set()
    wanted = targets
    while wanted:
        step = wanted.pop()
        if step not in needed:
            needed.add(step)
            if reasons[step]:
                wanted += step.parents.values()
    return [
        Planned(
            step=step,
            key=keys[step],
            components=parts[step],
            reason=reasons[step],
            needed=step in needed,
        )
        for step in ordered
    ]


def _visit(step: Step, ordered: list[Step]) -> None:
    if step not in ordered:
        for parent in step.parents.values():
            _visit(parent, ordered)
        ordered.append(step)


def lines(plan: Iterable[Planned]) -> Iterator[tuple[str, str]]:
    """Yield each step's name and what the plan says of it."""
    for item in plan:
        if item.reason is None:
            yield item.step.name, "kept"
        elif not item.needed:
            yield item.step.name, "not needed"
        else:
            yield item.step.name, f"build: {item.reason}"
