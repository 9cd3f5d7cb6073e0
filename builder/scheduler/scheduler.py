# SPDX-License-Identifier: MIT
"""Carries out a plan: steps side by side, each into the store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from builder.engine.engine import processors
from builder.errors import BuildError, CommandError, Interrupted, StepError
from builder.plan.plan import Planned
from builder.plan.step_key import key, reason
from builder.report.events import (
    Listener,
    StepCached,
    StepFailed,
    StepFinished,
    StepProgress,
    StepStarted,
)
from builder.sandbox.compiler_cache import CacheUse, CompilerCache
from builder.sandbox.disk_space import full_disk_told
from builder.sandbox.process import Processes
from builder.scheduler.build_context import BuildContext
from builder.steps.step import Job, Step
from builder.store.records import Unreadable
from builder.store.store import Entry, Store

_PROCESSORS_OF_ONE = 8
"""Processors that one compilation keeps busy: linking and packing use one alone."""


class StepFailure(BuildError):
    """A step failed: the error is `cause`, its output is in `log`.

    `step` is its name, `board` the first board whose step it is, if the plan knows boards.
    """

    def __init__(self, item: Planned, cause: BuildError, log: Path) -> None:
        step = item.step
        super().__init__(
            f"step {item.label} failed: {cause.message}", hint=cause.hint, details=cause.details
        )
        self.step = step.name
        self.board = item.boards[0] if item.boards else ""
        self.has_shell = type(step).shell is not Step.shell
        self.log = log
        self.replay = cause.replay if isinstance(cause, CommandError) else None
        self.cause = cause


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a build: all entries that there are, which of them it `made`, what failed.

    `cache_use` says of steps that compiled how they used the compiler cache.
    """

    entries: dict[Step, Entry]
    made: frozenset[Step]
    failures: Sequence[StepFailure]
    cache_use: Mapping[Step, CacheUse] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Result:
    """A step's output, and whether it was `made` just now or found in the store."""

    entry: Entry
    made: bool
    cache_use: CacheUse | None = None


class _Schedule:
    """Steps that wait, steps that run, and the results of the others."""

    def __init__(
        self, waiting: list[Planned], entries: dict[Step, Entry], *, most_wide: int
    ) -> None:
        self.waiting = waiting
        self._most_wide = most_wide
        self.entries = entries
        self.made: set[Step] = set()
        self.cache_use: dict[Step, CacheUse] = {}
        self.running: dict[Future[_Result], Planned] = {}
        self.failures: list[StepFailure] = []
        self._lost: set[str] = set()
        """Boards that cannot be finished."""

    def next(self) -> Planned | None:
        """Take the first step that can start now out of what waits; None if none can."""
        for item in self.waiting:
            parents = item.step.parents.values()
            if self._has_room(item) and all(parent in self.entries for parent in parents):
                self.waiting.remove(item)
                return item
        return None

    def _has_room(self, item: Planned) -> bool:
        """Return whether the machine has room for a step beside those that run.

        There is memory for one root filesystem at a time. Compilations that take turns leave the
        places beside them to steps that work on one processor, such as those of root filesystems.
        """
        running = self.running.values()
        roots = {each.root for each in running if each.root}
        if item.root and not roots <= {item.root}:
            return False
        return not item.step.wide or sum(each.step.wide for each in running) < self._most_wide

    def check(self) -> None:
        """Make sure that there is something to wait for.

        Raises:
            StepError: nothing runs, and nothing that waits can start.
        """
        if not self.running:
            names = ", ".join(item.label for item in self.waiting)
            raise StepError(
                f"inputs of these steps have gone from the store meanwhile: {names}",
                hint="build again",
            )

    def take(self, future: Future[_Result]) -> None:
        """Note what became of a step that ran. After a failure, what only its boards need goes.

        Raises:
            BaseException: the step ended by anything but an entry or a failure of its own.
        """
        item = self.running.pop(future)
        try:
            result = future.result()
            _enter(self.entries, item, result.entry)
            steps = (item.step, *item.merged_steps)
            if result.made:
                self.made.update(steps)
            if result.cache_use:
                self.cache_use.update(dict.fromkeys(steps, result.cache_use))
        except StepFailure as failure:
            self.failures.append(failure)
            self._lost.update(item.boards)
            self.waiting = [each for each in self.waiting if not self._is_lost(each)]

    @property
    def in_vain(self) -> bool:
        """Whether steps failed and nothing is left to do for boards that can be finished."""
        return (
            bool(self.failures)
            and not self.waiting
            and all(self._is_lost(item) for item in self.running.values())
        )

    def _is_lost(self, item: Planned) -> bool:
        return self._lost.issuperset(item.boards)


class Scheduler:
    """One run of a plan; `jobs` steps run at once.

    Logs go to `logs`, one a step: a directory, or one for each board. A step that several boards
    have in common has its log with the first of them.
    """

    def __init__(
        self,
        plan: Sequence[Planned],
        *,
        store: Store,
        logs: Path | Mapping[str, Path],
        listener: Listener,
        processes: Processes,
        jobs: int,
        offline: bool = False,
        compiler_cache: CompilerCache | None = None,
    ) -> None:
        self._plan = plan
        self._store = store
        self._logs = logs
        self._listener = listener
        self._processes = processes
        self._jobs = jobs
        self._offline = offline
        self._compiler_cache = compiler_cache

    def run(self) -> dict[Step, Entry]:
        """Make everything that is not kept; return all entries that there are.

        Raises:
            StepFailure: a step failed.
            Interrupted: the user asked to stop.
        """
        outcome = self.attempt()
        if outcome.failures:
            raise outcome.failures[0]
        return outcome.entries

    def attempt(self) -> Outcome:
        """Make what is not kept, as far as it goes.

        A failure is the end for the boards whose step it is, which are all in the plan for one
        board; the other boards go on. So all boards do if a step of no board fails.

        Raises:
            Interrupted: the user asked to stop.
        """
        entries: dict[Step, Entry] = {}
        waiting: list[Planned] = []
        for item in self._plan:
            # What was damaged may still be there, if another build is at work on it.
            entry = self._store.get(item.key) if item.key and not item.reason else None
            if entry:
                _enter(entries, item, entry)
                self._listener(StepCached(step=item.label))
            elif item.needed:
                waiting.append(item)
        most_wide = max(1, processors() // _PROCESSORS_OF_ONE)
        schedule = _Schedule(waiting, entries, most_wide=most_wide)
        if waiting:
            with BuildContext(
                self._store,
                self._processes,
                offline=self._offline,
                compiler_cache=self._compiler_cache,
            ) as toolbox:
                self._run(schedule, toolbox)
        return Outcome(
            entries=entries,
            made=frozenset(schedule.made),
            failures=schedule.failures,
            cache_use=schedule.cache_use,
        )

    def _run(self, schedule: _Schedule, toolbox: BuildContext) -> None:
        stop: BaseException | None = None
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="step") as pool:
            try:
                while schedule.waiting or schedule.running:
                    while len(schedule.running) < self._jobs and (item := schedule.next()):
                        if item.root:
                            toolbox.turn_to(item.root)
                        inputs = {
                            name: schedule.entries[parent]
                            for name, parent in item.step.parents.items()
                        }
                        future = pool.submit(self._build, item, inputs, toolbox)
                        schedule.running[future] = item
                    schedule.check()
                    done, _ = wait(schedule.running, return_when=FIRST_COMPLETED)
                    for future in done:
                        schedule.take(future)
                    if schedule.in_vain:
                        # A killed step leaves nothing behind.
                        self._processes.stop()
                        break
            except BaseException as error:  # noqa: BLE001 - raised again below
                stop = error
                self._processes.stop()
        if isinstance(stop, KeyboardInterrupt):
            raise Interrupted("interrupted") from stop
        if stop:
            raise stop

    def _log(self, item: Planned) -> Path:
        if isinstance(self._logs, Path):
            logs = self._logs
        else:
            # What is of no board has its log with the first one.
            logs = self._logs[item.boards[0] if item.boards else next(iter(self._logs))]
        return logs / f"{item.step.name.replace(':', '-')}.log"

    def _build(self, item: Planned, inputs: Mapping[str, Entry], toolbox: BuildContext) -> _Result:
        """Make one step's entry, unless it is in the store, where another build may have put it."""
        components = item.components(inputs)
        with self._store.building(
            key(components),
            on_wait=lambda: self._say(item, "waiting for another build that makes the same"),
            stopped=lambda: self._processes.stopped,
        ):
            kept = self._store.get(key(components))
            if kept and not self._store.damage(kept.key):
                self._listener(StepCached(step=item.label))
                return _Result(entry=kept, made=False)
            return self._make(item, components, inputs, toolbox)

    def _make(
        self,
        item: Planned,
        components: Mapping[str, str],
        inputs: Mapping[str, Entry],
        toolbox: BuildContext,
    ) -> _Result:
        """Make one step's entry."""
        step, log_path = item.step, self._log(item)
        last = self._last(step)
        why = reason(components, last) if item.depends else item.reason or ""
        self._listener(StepStarted(step=item.label, reason=why, log=log_path))
        started = time.monotonic()
        try:
            with full_disk_told(self._store.root, log_path.parent):
                with log_path.open("w") as log:
                    job = Job(
                        inputs=inputs,
                        output=self._store.draft(key(components)),
                        log=log,
                        store=self._store,
                        tools=toolbox,
                        on_line=lambda line: self._say(item, line),
                    )
                    toolbox.carry_out(step, job)
                seconds = time.monotonic() - started
                entry = self._store.commit(
                    key(components), step=step.name, components=components, seconds=seconds
                )
        except BaseException as error:
            self._store.discard(key(components))
            seconds = time.monotonic() - started
            was_stopped = self._processes.stopped
            self._listener(
                StepFailed(
                    step=item.label,
                    seconds=seconds,
                    message=str(error),
                    stopped=was_stopped,
                )
            )
            if was_stopped:
                # Whatever it is, it comes from the ground having been pulled away.
                raise Interrupted("stopped") from error
            if isinstance(error, BuildError):
                raise StepFailure(item, error, log_path) from error
            raise
        unchanged = last is not None and self._store.content(key(last)) == entry.tree_hash
        self._remember(item, components)
        self._listener(
            StepFinished(step=item.label, seconds=seconds, size=entry.size, unchanged=unchanged)
        )
        return _Result(entry=entry, made=True, cache_use=job.cache_use)

    def _last(self, step: Step) -> Mapping[str, str] | None:
        """Return the components with which a step was last built, as far as that is known."""
        try:
            return self._store.last(step.scope, step.name)
        except Unreadable:
            return None

    def _remember(self, item: Planned, components: Mapping[str, str]) -> None:
        """Note what a step was last built with, for all boards whose step it is."""
        for scope in {each.scope for each in (item.step, *item.merged_steps)}:
            self._store.remember(scope, item.step.name, components)

    def _say(self, item: Planned, line: str) -> None:
        self._listener(StepProgress(step=item.label, line=line))


def _enter(entries: dict[Step, Entry], item: Planned, entry: Entry) -> None:
    """Note what was made of a step, and so of all that it stands for."""
    entries.update(dict.fromkeys((item.step, *item.merged_steps), entry))
