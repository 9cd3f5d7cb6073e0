# SPDX-License-Identifier: MIT
"""The plan of a build: the key of each step, and the reason to build it unless it is cached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from builder.plan.step_key import components, key, reason, with_inputs
from builder.steps.step import Step
from builder.store.records import Unreadable
from builder.store.store import Entry, Store


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A step in a plan.

    step: The step.
    identity: Hash of the step's inputs and those of its ancestors, by which equal steps are found.
        Unlike the key, it is always known.
    key: The step's key; None while the output of a parent is unknown.
    parts: The components of the key, without those of the parents.
    reason: The reason to build the step; None if its output is cached.
    needed: Whether the output is needed. It is False for a step that is not cached if all its
        children are cached.
    depends: Names of the parents whose output is not known yet, if the step is cached should
        their output be the same as in the last build.

    `merge_plans` sets the other fields:

    boards: The boards that have this step.
    merged_steps: The equal steps of the other boards.
    qualifier: The boards in a few words, to distinguish steps of the same name.
    root: Identity of the lowest layer of the root filesystem that the step works in.
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
    qualifier: str = ""
    root: str | None = None

    @property
    def cached(self) -> bool:
        """Whether the step does not have to be built."""
        return self.reason is None or not self.needed

    @property
    def certain(self) -> bool:
        """Whether it is known before the build if the step has to be built."""
        return self.cached or not self.depends

    @property
    def label(self) -> str:
        """The step's name, unique within the plan."""
        return f"{self.step.name} ({self.qualifier})" if self.qualifier else self.step.name

    def components(self, inputs: Mapping[str, Entry]) -> dict[str, str]:
        """Return all components of the key, given the entries of all parents by name."""
        return with_inputs(self.parts, {name: entry.tree_hash for name, entry in inputs.items()})


def make_plan(
    targets: Iterable[Step],
    store: Store,
    *,
    optional: Sequence[Step] = (),
    shown: Sequence[Step] = (),
) -> list[Planned]:
    """Return the plan for `targets`: these and all their ancestors, parents before children.

    Cached outputs that the build reads are verified: those of targets, of optional steps, of the
    parents of steps that are built, and of `shown` steps. Damaged entries are removed from the store
    and their steps are built again.

    Args:
        targets: The steps whose output is wanted.
        store: The store with the cached outputs.
        optional: Steps to build if the outputs of their parents are cached or built for the targets.
            Their parents are not built for them alone.
        shown: Steps whose output is published with the targets if it is cached.
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
        # Steps are in the order of their parents: the decisions for these are final.
        if step not in regular:
            draft.consider(step, verify=step in optional)
    return [draft.planned(step) for step in ordered]


class _Draft:
    """State of `make_plan`: the keys of the steps, the reasons to build them, the needed steps."""

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
        """Add a step whose parents have been added."""
        own = self._parts[step] = components(step, secret=self._secret)
        parents = {name: self._identities[parent] for name, parent in step.parents.items()}
        self._identities[step] = key(with_inputs(own, parents))
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
        """Determine whether a step with known inputs is cached."""
        self._keys[step] = key(parts)
        entry = self._store.get(self._keys[step])
        content = entry.tree_hash if entry else self._store.content(self._keys[step])
        if content:
            self._contents[step] = content
        self.reasons[step] = None if entry else self._missing(step, parts)

    def _predict(self, step: Step, known: Mapping[str, str]) -> None:
        """Predict from the last build whether a step with unknown inputs is cached."""
        unknown = [name for name in step.parents if name not in known]
        try:
            last = self._store.last(step.scope, step.name) or {}
        except Unreadable:
            last = {}
        as_before = {name: last.get(f"input {name}", "") for name in unknown}
        parts = with_inputs(self._parts[step], {**known, **as_before})
        if parts == last:
            self._depends[step] = unknown
            self.reasons[step] = f"{_any_of(unknown)} comes out different"
        else:
            self.reasons[step] = reason(parts, last or None)

    def need(self, *steps: Step) -> None:
        """Mark steps as needed; if a step is not cached, its parents are needed too."""
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
        """Mark an optional step as needed if its parents are cached or built anyway."""
        if verify:
            self._verify(step)
        parents = step.parents.values()
        if all(not self.reasons[each] or each in self._needed for each in parents):
            self._needed.add(step)
            if self.reasons[step]:
                self.need(*parents)

    def planned(self, step: Step) -> Planned:
        """Return the step with its key and the decisions about it."""
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
        """Return the reason why a step is not cached."""
        damage = self._store.damage(self._keys[step])
        if damage:
            return f"damaged in the store: {damage}"
        try:
            return reason(parts, self._store.last(step.scope, step.name))
        except Unreadable as error:
            return f"the record of its last build is unusable: {error}"

    def _verify(self, step: Step) -> None:
        """Check the cached output of a step; remove the entry from the store if it is damaged."""
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
    """Yield the label of each step and what the build does with it."""
    for item in plan:
        if item.reason is None:
            yield item.label, "cached"
        elif not item.needed:
            yield item.label, "not needed"
        elif item.depends:
            yield item.label, f"build if {item.reason}"
        else:
            yield item.label, f"build: {item.reason}"


def _any_of(names: Sequence[str]) -> str:
    return " or ".join(names) if len(names) < 3 else f"one of {', '.join(names)}"
