# SPDX-License-Identifier: MIT
"""The plan: each step's fingerprint, whether it is kept, and the one reason if not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from builder.plan.fingerprint import components, key, reason
from builder.steps.step import Step
from builder.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A step in a plan. `reason` is None if its output is kept.

    `needed` is False for what is not kept and need not be made, because everything that stands
    on it is kept.

    The rest is what a plan for boards adds (`builder.plan.joint`): the `boards` whose step this
    is, `twins`, which are the other boards' steps that it stands for, `whose`, which tells it
    apart from steps of the same name, and the `root` filesystem that it works in.
    """

    step: Step
    key: str
    components: Mapping[str, str]
    reason: str | None
    needed: bool
    boards: Sequence[str] = ()
    twins: Sequence[Step] = ()
    whose: str = ""
    root: str | None = None

    @property
    def kept(self) -> bool:
        """Whether there is nothing to do for this step."""
        return self.reason is None or not self.needed

    @property
    def label(self) -> str:
        """What the step is called where all steps of the plan are seen."""
        return f"{self.step.name} ({self.whose})" if self.whose else self.step.name


def make_plan(
    targets: Iterable[Step], store: Store, *, optional: Sequence[Step] = ()
) -> list[Planned]:
    """Return the steps that `targets` need, themselves included, each after its parents.

    `optional` steps are made if what they stand on is kept or made for the targets. What has gone
    from the store is not made again for them.
    """
    targets = list(targets)
    ordered: list[Step] = []
    for target in targets:
        _visit(target, ordered)
    regular = {*ordered}
    for step in optional:
        _visit(step, ordered)
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
    for step in ordered:
        # After its parents, so what is said of these is final.
        there = all(not reasons[each] or each in needed for each in step.parents.values())
        if step not in regular and there:
            needed.add(step)
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
    """Yield each step's label and what the plan says of it."""
    for item in plan:
        if item.reason is None:
            yield item.label, "kept"
        elif not item.needed:
            yield item.label, "not needed"
        else:
            yield item.label, f"build: {item.reason}"
