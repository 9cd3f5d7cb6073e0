# SPDX-License-Identifier: MIT
"""Execution of a plan: steps run in parallel and their outputs go into the store."""

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
"""Processors per concurrent compilation: linking and packing use only one each."""


class StepFailure(BuildError):
    """Failure of a step.

    step: The step's name.
    board: The first board that has the step; "" if the plan has no boards.
    has_shell: Whether the step has an environment in which a shell can be opened.
    log: The file with the step's output.
    replay: The failed command, if the failure is one of a command.
    cause: The error.
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
    """Result of a build.

    entries: The entries of all steps that were cached or built.
    made: The steps that were built.
    failures: The failures, in the order of their occurrence.
    cache_use: The use of the compiler cache by the steps that compiled.
    """

    entries: dict[Step, Entry]
    made: frozenset[Step]
    failures: Sequence[StepFailure]
    cache_use: Mapping[Step, CacheUse] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Result:
    """The entry of a step, and whether this build made it or found it in the store."""

    entry: Entry
    made: bool
    cache_use: CacheUse | None = None


class _Schedule:
    """State of a build: steps that wait, steps that run, and the results of the others."""

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
        """Boards with a failed step."""

    def next(self) -> Planned | None:
        """Remove and return the first waiting step that can start; None if there is none."""
        for item in self.waiting:
            parents = item.step.parents.values()
            if self._has_room(item) and all(parent in self.entries for parent in parents):
                self.waiting.remove(item)
                return item
        return None

    def _has_room(self, item: Planned) -> bool:
        """Return whether a step can run in parallel with the running ones.

        The memory suffices for one root filesystem at a time. The number of concurrent compilations
        is limited, because they use all processors: the other slots are for steps that use one, such
        as those of root filesystems.
        """
        running = self.running.values()
        roots = {each.root for each in running if each.root}
        if item.root and not roots <= {item.root}:
            return False
        return not item.step.wide or sum(each.step.wide for each in running) < self._most_wide

    def check(self) -> None:
        """Check that a step is running.

        Raises:
            StepError: No step is running, and no waiting step can start.
        """
        if not self.running:
            names = ", ".join(item.label for item in self.waiting)
            raise StepError(
                f"the store lost inputs of these steps during the build: {names}",
                hint="start the build again",
            )

    def take(self, future: Future[_Result]) -> None:
        """Record the result of a step. After a failure, drop the steps that only its boards need.

        Raises:
            BaseException: The step raised an error other than `StepFailure`.
        """
        item = self.running.pop(future)
        try:
            result = future.result()
            _add_entry(self.entries, item, result.entry)
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
    def nothing_left(self) -> bool:
        """Whether steps failed and no other step is for a board without failures."""
        return (
            bool(self.failures)
            and not self.waiting
            and all(self._is_lost(item) for item in self.running.values())
        )

    def _is_lost(self, item: Planned) -> bool:
        return self._lost.issuperset(item.boards)


class Scheduler:
    """Scheduler for the steps of a plan.

    Args:
        plan: The steps, parents before children.
        store: The store for the outputs.
        logs: The directory for the logs, one for each step; or such a directory for each board. The
            log of a step that several boards have is in the directory of the first one.
        listener: Receives the events of the build.
        processes: The processes of the build.
        jobs: Maximum number of steps that run in parallel.
        offline: Whether the network must not be used.
        compiler_cache: The cache of compiled objects, if it is to be used.
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
        """Build all steps that are not cached; return the entries of all steps.

        Raises:
            StepFailure: A step failed.
            Interrupted: The user interrupted the build.
        """
        outcome = self.attempt()
        if outcome.failures:
            raise outcome.failures[0]
        return outcome.entries

    def attempt(self) -> Outcome:
        """Build all steps that are not cached; after a failure, build those of the other boards.

        A failure ends the build for all boards that have the step. If no board has it, the build
        continues for all boards.

        Raises:
            Interrupted: The user interrupted the build.
        """
        entries: dict[Step, Entry] = {}
        waiting: list[Planned] = []
        for item in self._plan:
            # A damaged entry may still be in the store if another build is replacing it.
            entry = self._store.get(item.key) if item.key and not item.reason else None
            if entry:
                _add_entry(entries, item, entry)
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
            ) as context:
                self._run(schedule, context)
        return Outcome(
            entries=entries,
            made=frozenset(schedule.made),
            failures=schedule.failures,
            cache_use=schedule.cache_use,
        )

    def _run(self, schedule: _Schedule, context: BuildContext) -> None:
        stop: BaseException | None = None
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="step") as pool:
            try:
                while schedule.waiting or schedule.running:
                    while len(schedule.running) < self._jobs and (item := schedule.next()):
                        if item.root:
                            context.turn_to(item.root)
                        inputs = {
                            name: schedule.entries[parent]
                            for name, parent in item.step.parents.items()
                        }
                        future = pool.submit(self._build, item, inputs, context)
                        schedule.running[future] = item
                    schedule.check()
                    done, _ = wait(schedule.running, return_when=FIRST_COMPLETED)
                    for future in done:
                        schedule.take(future)
                    if schedule.nothing_left:
                        # A killed step leaves nothing in the store.
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
            # The log of a step without boards is in the directory of the first board.
            logs = self._logs[item.boards[0] if item.boards else next(iter(self._logs))]
        return logs / f"{item.step.name.replace(':', '-')}.log"

    def _build(self, item: Planned, inputs: Mapping[str, Entry], context: BuildContext) -> _Result:
        """Return the entry of a step; build it unless another build has put it into the store."""
        components = item.components(inputs)
        wanted = key(components)
        with self._store.building(
            wanted,
            on_wait=lambda: self._say(item, "waiting for another build that makes the same"),
            stopped=lambda: self._processes.stopped,
        ):
            cached = self._store.get(wanted)
            if cached and not self._store.damage(wanted):
                self._listener(StepCached(step=item.label))
                return _Result(entry=cached, made=False)
            return self._make(item, components, inputs, context)

    def _make(
        self,
        item: Planned,
        components: Mapping[str, str],
        inputs: Mapping[str, Entry],
        context: BuildContext,
    ) -> _Result:
        """Build a step, report it to the listener, and record it as the step's last build."""
        step, wanted, log_path = item.step, key(components), self._log(item)
        last = self._last(step)
        why = reason(components, last) if item.depends else item.reason or ""
        self._listener(StepStarted(step=item.label, reason=why, log=log_path))
        started = time.monotonic()
        try:
            with full_disk_told(self._store.root, log_path.parent):
                with log_path.open("w") as log:
                    job = Job(
                        inputs=inputs,
                        output=self._store.draft(wanted),
                        log=log,
                        store=self._store,
                        tools=context,
                        on_line=lambda line: self._say(item, line),
                    )
                    context.carry_out(step, job)
                seconds = time.monotonic() - started
                entry = self._store.commit(
                    wanted, step=step.name, components=components, seconds=seconds
                )
        except BaseException as error:
            self._store.discard(wanted)
            self._fail(item, error, log_path, seconds=time.monotonic() - started)
            raise
        unchanged = last is not None and self._store.content(key(last)) == entry.tree_hash
        self._remember(item, components)
        self._listener(
            StepFinished(step=item.label, seconds=seconds, size=entry.size, unchanged=unchanged)
        )
        return _Result(entry=entry, made=True, cache_use=job.cache_use)

    def _fail(self, item: Planned, error: BaseException, log: Path, *, seconds: float) -> None:
        """Report a failed step to the listener, and raise the error that stands for its failure.

        Raises:
            Interrupted: The build has been stopped; the step's error is a consequence.
            StepFailure: The step failed with an error of the build.
        """
        stopped = self._processes.stopped
        self._listener(
            StepFailed(step=item.label, seconds=seconds, message=str(error), stopped=stopped)
        )
        if stopped:
            raise Interrupted("stopped") from error
        if isinstance(error, BuildError):
            raise StepFailure(item, error, log) from error

    def _last(self, step: Step) -> Mapping[str, str] | None:
        """Return the components with which a step was last built; None if they are unknown."""
        try:
            return self._store.last(step.scope, step.name)
        except Unreadable:
            return None

    def _remember(self, item: Planned, components: Mapping[str, str]) -> None:
        """Record the components with which a step was built, for all boards that have it."""
        for scope in {each.scope for each in (item.step, *item.merged_steps)}:
            self._store.remember(scope, item.step.name, components)

    def _say(self, item: Planned, line: str) -> None:
        self._listener(StepProgress(step=item.label, line=line))


def _add_entry(entries: dict[Step, Entry], item: Planned, entry: Entry) -> None:
    """Add the entry of a step and of the steps that were merged into it."""
    entries.update(dict.fromkeys((item.step, *item.merged_steps), entry))
