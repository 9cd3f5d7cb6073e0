# SPDX-License-Identifier: MIT
"""The plan: each step's fingerprint, whether it is kept, and the one reason if not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from builder.plan.step_key import components, key, reason, with_inputs
from builder.steps.step import Step
from builder.store.records import Unreadable
from builder.store.store import Entry, Store


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A step in a plan. `reason` is None if its output is kept.

    `parts` are the components of its fingerprint, without those of its parents. `key` is its
    fingerprint; None if it stands on outputs that are not known before they have been made. Such a
    step `depends` on these, by the names of its parents: if they come out as before, it may be kept.

    `needed` is False for what is not kept and need not be made, because everything that stands
    on it is kept.

    `identity` tells steps apart in one plan, whether their keys are known or not: two steps with
    the same one are made of the same.

    The rest is what a plan for boards adds (`builder.plan.merge`): the `boards` whose step this
    is, `merged_steps`, which are the other boards' steps that it stands for, `whose`, which tells it
    apart from steps of the same name, and the `root` filesystem that it works in.
    """

    step: Step
    identity: str
    key: str | None
    parts: Mapping[str, str]
    reason: str | None
    needed: bool
    depends: Sequence[str] = ()
    boards: Sequence[str] = ()
    merged_steps: Sequence[Step] = ()
    whose: str = ""
    root: str | None = None

    @property
    def cached(self) -> bool:
        """Whether there is nothing to do for this step."""
        return self.reason is None or not self.needed

    @property
    def certain(self) -> bool:
        """Whether what is to be done for this step does not depend on how others come out."""
        return self.cached or not self.depends

    @property
    def label(self) -> str:
        """The name of the step among all steps of the plan."""
        return f"{self.step.name} ({self.whose})" if self.whose else self.step.name

    def components(self, inputs: Mapping[str, Entry]) -> dict[str, str]:
        """Return the components of the fingerprint, when the outputs of all parents are at hand."""
        return with_inputs(self.parts, {name: entry.tree_hash for name, entry in inputs.items()})


def make_plan(
    targets: Iterable[Step],
    store: Store,
    *,
    optional: Sequence[Step] = (),
    shown: Sequence[Step] = (),
) -> list[Planned]:
    """Return the steps that `targets` need, themselves included, each after its parents.

    `optional` steps are made if what they stand on is kept or made for the targets. What has gone
    from the store is not made again for them.

    What is kept and will be read is verified: the output of targets, of optional steps, of the
    parents of steps that are built, and of those that are `shown` to the user with the targets. What
    is damaged is removed from the store, and made again.
    """
    ordered: list[Step] = []
    targets = list(targets)
    for target in targets:
        _visit(target, ordered)
    regular = {*ordered}
    for step in optional:
        _visit(step, ordered)
    draft = _Draft(store)
    for step in ordered:
        draft.add(step)
    draft.need(*targets, *(step for step in shown if draft.reasons[step] is None))
    for step in ordered:
        # After its parents, so what is said of these is final.
        if step not in regular:
            draft.consider(step, verify=step in optional)
    return [draft.planned(step) for step in ordered]


class _Draft:
    """A plan in the making: for each step its key, why it is not kept, and whether it is needed."""

    def __init__(self, store: Store) -> None:
        self.reasons: dict[Step, str | None] = {}
        self._store = store
        self._secret = store.secret()
        self._parts: dict[Step, dict[str, str]] = {}
        self._identities: dict[Step, str] = {}
        self._keys: dict[Step, str] = {}
        self._contents: dict[Step, str] = {}
        self._depends: dict[Step, Sequence[str]] = {}
        self._needed: set[Step] = set()
        self._read: set[Step] = set()

    def add(self, step: Step) -> None:
        """Take a step in, after its parents."""
        own = self._parts[step] = components(step, secret=self._secret)
        above = {name: self._identities[parent] for name, parent in step.parents.items()}
        self._identities[step] = key(with_inputs(own, above))
        known = {
            name: self._contents[parent]
            for name, parent in step.parents.items()
            if parent in self._contents
        }
        if known.keys() == step.parents.keys():
            self._look_up(step, with_inputs(own, known))
        else:
            self._predict(step, known)

    def _look_up(self, step: Step, parts: Mapping[str, str]) -> None:
        """Find out whether the output of a step is kept of which all inputs are known."""
        self._keys[step] = key(parts)
        entry = self._store.get(self._keys[step])
        content = entry.tree_hash if entry else self._store.content(self._keys[step])
        if content:
            self._contents[step] = content
        self.reasons[step] = None if entry else self._missing(step, parts)

    def _predict(self, step: Step, known: Mapping[str, str]) -> None:
        """Say of a step that stands on unknown outputs if it may be kept, by what was built last."""
        unknown = [name for name in step.parents if name not in known]
        try:
            last = self._store.last(step.scope, step.name) or {}
        except Unreadable:
            last = {}
        as_before = {name: last.get(f"input {name}", "") for name in unknown}
        parts = with_inputs(self._parts[step], {**known, **as_before})
        if parts == last:
            self._depends[step] = unknown
            self.reasons[step] = f"{_listed(unknown)} comes out different"
        else:
            self.reasons[step] = reason(parts, last or None)

    def need(self, *steps: Step) -> None:
        """Have the output of steps at hand, and for those that are not kept that of their parents."""
        wanted = [*steps]
        while wanted:
            step = wanted.pop()
            if step not in self._read:
                self._read.add(step)
                self._needed.add(step)
                self._verify(step)
                if self.reasons[step]:
                    wanted += step.parents.values()

    def consider(self, step: Step, *, verify: bool) -> None:
        """Have the output of a step at hand if its parents are there, or are made anyway."""
        if verify:
            self._verify(step)
        parents = step.parents.values()
        if all(not self.reasons[each] or each in self._needed for each in parents):
            self._needed.add(step)
            if self.reasons[step]:
                self.need(*parents)

    def planned(self, step: Step) -> Planned:
        """Return what was found out about a step."""
        return Planned(
            step=step,
            identity=self._identities[step],
            key=self._keys.get(step),
            parts=self._parts[step],
            reason=self.reasons[step],
            needed=step in self._needed,
            depends=self._depends.get(step, ()),
        )

    def _missing(self, step: Step, parts: Mapping[str, str]) -> str:
        """Say why a step is not kept."""
        damage = self._store.damage(self._keys[step])
        if damage:
            return f"damaged in the store: {damage}"
        try:
            return reason(parts, self._store.last(step.scope, step.name))
        except Unreadable as error:
            return f"it is not known what was built last: {error}"

    def _verify(self, step: Step) -> None:
        """Look whether what is kept of a step is as it was made; if not, it is not kept any more."""
        damage = None if self.reasons[step] else self._store.damage(self._keys[step])
        if damage:
            self._store.drop(self._keys[step])
            self.reasons[step] = f"damaged in the store: {damage}"


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
        elif item.depends:
            yield item.label, f"build if {item.reason}"
        else:
            yield item.label, f"build: {item.reason}"


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names) if len(names) < 3 else f"one of {', '.join(names)}"
