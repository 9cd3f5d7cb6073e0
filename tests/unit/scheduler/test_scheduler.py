# SPDX-License-Identifier: MIT
"""Execution of plans: in parallel, each step once, without leftovers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from builder.errors import BuildError, HostError, Interrupted, StepError
from builder.plan.merge import merge_plans
from builder.plan.plan import Planned, make_plan
from builder.report.events import (
    Event,
    StepCached,
    StepFailed,
    StepFinished,
    StepProgress,
    StepStarted,
)
from builder.rootfs.layers import LayerStack
from builder.sandbox.process import Processes, run
from builder.scheduler.build_context import BuildContext
from builder.scheduler.scheduler import Outcome, Scheduler, StepFailure
from builder.steps.step import Job, Step
from builder.store.store import Entry, Store
from tests.fixtures.product import ROOT


def nothing(job: Job) -> None:
    """Leave nothing but what every `Work` leaves."""


def write_version(job: Job) -> None:
    """Leave what differs between versions of a step."""
    (job.output / "version").write_text(job.output.parent.name)


class Work(Step):
    """A step that does what a test gives it."""

    def __init__(
        self, name: str, work: Callable[[Job], object] | None = None, *parents: Step
    ) -> None:
        super().__init__(name, scope="board", parents={step.name: step for step in parents})
        self.work = work or nothing
        self.runs = 0
        self.version = 1

    def settings(self) -> Mapping[str, object]:
        return {"name": self.name, "version": self.version}

    def run(self, job: Job) -> None:
        self.runs += 1
        (job.output / "name").write_text(self.name)
        self.work(job)


@dataclass
class Site:
    """Where a test builds: a store, a directory of logs, and what the build said."""

    store: Store
    logs: Path
    events: list[Event] = field(default_factory=list)

    def listen(self, event: Event) -> None:
        self.events.append(event)

    def build(
        self, *targets: Step, jobs: int = 4, processes: Processes | None = None
    ) -> dict[Step, Entry]:
        return self.prepared(*targets, jobs=jobs, processes=processes).run()

    def attempted(self, *targets: Step) -> Outcome:
        return self.prepared(*targets).attempt()

    def prepared(
        self, *targets: Step, jobs: int = 4, processes: Processes | None = None
    ) -> Scheduler:
        self.events.clear()
        return Scheduler(
            make_plan(targets, self.store),
            store=self.store,
            logs=self.logs,
            listener=self.listen,
            processes=processes or Processes(),
            jobs=jobs,
        )

    def said(self, kind: type[Event]) -> list[str]:
        return [event.step for event in self.events if isinstance(event, kind)]  # type: ignore[union-attr]

    def leftovers(self) -> list[Path]:
        return [*(self.store.root / "drafts").iterdir(), *(self.store.root / "scratch").iterdir()]


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Site:
    logs = tmp_path / "logs"
    logs.mkdir()
    return Site(store, logs)


def fail(error: BaseException) -> Callable[[Job], object]:
    def work(job: Job) -> None:
        raise error

    return work


def test_steps_are_built_after_their_parents_and_read_their_output(site: Site) -> None:
    def copy(job: Job) -> None:
        text = (job.input("bottom") / "name").read_text()
        (job.output / "copy").write_text(text)

    bottom = Work("bottom")
    top = Work("top", copy, bottom)
    entries = site.build(top)
    assert (entries[top].files / "copy").read_text() == "bottom"
    assert site.said(StepStarted) == site.said(StepFinished) == ["bottom", "top"]
    assert site.leftovers() == []


def test_a_second_build_does_nothing(site: Site) -> None:
    bottom = Work("bottom")
    top = Work("top", None, bottom)
    site.build(top)
    entries = site.build(top)
    assert (bottom.runs, top.runs) == (1, 1)
    assert set(entries) == {bottom, top}
    assert site.said(StepCached) == ["bottom", "top"]
    assert not site.said(StepStarted)


def test_children_of_an_unchanged_output_are_cached(site: Site) -> None:
    bottom = Work("bottom")
    middle = Work("middle", None, bottom)
    top = Work("top", None, middle, bottom)
    site.build(top)
    bottom.version = 2
    entries = site.build(top)
    assert (bottom.runs, middle.runs, top.runs) == (2, 1, 1)
    assert {*entries} == {bottom, middle, top}
    assert site.said(StepCached) == ["middle", "top"]
    (finished,) = [event for event in site.events if isinstance(event, StepFinished)]
    assert finished.unchanged
    assert not site.attempted(top).made


def test_a_step_that_fetches_is_refused_offline(site: Site) -> None:
    class Fetch(Work):
        fetches = True

    bottom = Work("bottom", write_version)
    top = Fetch("top", None, bottom)
    site.build(top)
    bottom.version = 2
    build = Scheduler(
        make_plan([top], site.store),
        store=site.store,
        logs=site.logs,
        listener=site.listen,
        processes=Processes(),
        jobs=1,
        offline=True,
    )
    with pytest.raises(StepFailure, match="--offline, but top has not been fetched yet"):
        build.run()


def test_only_descendants_of_a_change_are_rebuilt(site: Site) -> None:
    left, right = Work("left", write_version), Work("right")
    top = Work("top", write_version, left, right)
    site.build(top)
    left.version = 2
    site.build(top)
    assert (left.runs, right.runs, top.runs) == (2, 1, 2)
    reasons = {event.step: event.reason for event in site.events if isinstance(event, StepStarted)}
    assert reasons == {"left": "version: 1 -> 2", "top": "left changed"}
    assert not [event for event in site.events if getattr(event, "unchanged", False)]


def test_independent_steps_run_side_by_side(site: Site) -> None:
    barrier = threading.Barrier(2, timeout=10)
    left, right = (Work(name, lambda _: barrier.wait()) for name in ("left", "right"))
    site.build(Work("top", None, left, right), jobs=2)
    assert not barrier.broken


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_no_more_steps_run_at_once_than_allowed(site: Site, jobs: int) -> None:
    lock = threading.Lock()
    running: list[int] = [0]
    most: list[int] = [0]
    # However slow the machine is: so many have to be there at once.
    together = threading.Barrier(jobs, timeout=60)

    def work(job: Job) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.wait()
        with lock:
            running[0] -= 1

    steps = [Work(str(number), work) for number in range(6)]
    site.build(*steps, jobs=jobs)
    assert most[0] == jobs
    assert all(step.runs == 1 for step in steps)


def test_a_failure_names_step_log_and_hint(site: Site) -> None:
    def work(job: Job) -> None:
        job.say("compiling")
        processes = Processes()
        run(["sh", "-c", "echo no space; exit 3"], processes=processes, log=job.log)

    with pytest.raises(StepFailure) as caught:
        site.build(Work("u:boot", work))
    failure = caught.value
    assert failure.message == "step u:boot failed: sh ended with status 3"
    assert failure.replay == "sh -c 'echo no space; exit 3'"
    assert failure.details == ("no space",)
    assert failure.log == site.logs / "u-boot.log"
    assert failure.log.read_text() == ("compiling\n$ sh -c 'echo no space; exit 3'\nno space\n")
    assert [event.line for event in site.events if isinstance(event, StepProgress)] == ["compiling"]
    (failed,) = (event for event in site.events if isinstance(event, StepFailed))
    assert (failed.step, failed.stopped) == ("u:boot", False)
    assert site.leftovers() == []


@pytest.mark.parametrize(
    "error", [StepError("no"), HostError("lacks gcc", hint="apt-get install gcc")]
)
def test_the_hint_and_kind_of_an_error_are_kept(site: Site, error: BuildError) -> None:
    with pytest.raises(StepFailure) as caught:
        site.build(Work("s", fail(error)))
    assert caught.value.cause is error
    assert caught.value.hint == error.hint


def test_an_unexpected_error_is_raised_unchanged(site: Site) -> None:
    with pytest.raises(ZeroDivisionError):
        site.build(Work("s", lambda _: 1 / 0))
    assert site.leftovers() == []


def test_a_failure_stops_the_others_at_once(site: Site) -> None:
    processes = Processes()
    started = threading.Event()

    def long(job: Job) -> None:
        started.set()
        run(["sleep", "60"], processes=processes)

    def short(job: Job) -> None:
        assert started.wait(10)
        time.sleep(0.2)
        raise StepError("broken")

    after = Work("after", None, Work("long", long))
    begin = time.monotonic()
    with pytest.raises(StepFailure, match=r"^step short failed: broken$"):
        site.build(after, Work("short", short), processes=processes)
    assert time.monotonic() - begin < 10
    stopped = {event.step: event.stopped for event in site.events if isinstance(event, StepFailed)}
    assert stopped == {"short": False, "long": True}
    assert after.runs == 0
    assert site.leftovers() == []


def test_a_failed_build_resumes_at_the_failed_step(site: Site) -> None:
    good = Work("good")
    bad = Work("bad", fail(StepError("no")), good)
    top = Work("top", None, bad)
    with pytest.raises(StepFailure):
        site.build(top)
    bad.work = nothing
    site.build(top)
    assert (good.runs, bad.runs, top.runs) == (1, 2, 1)
    assert site.said(StepCached) == ["good"]


def test_an_interrupted_build_leaves_no_draft_and_resumes(site: Site) -> None:
    good = Work("good")
    bad = Work("bad", fail(KeyboardInterrupt()), good)
    with pytest.raises(Interrupted):
        site.build(bad)
    assert site.leftovers() == []
    assert make_plan([bad], site.store)[1].reason == "never built"
    bad.work = nothing
    site.build(bad)
    assert (good.runs, bad.runs) == (1, 2)


def test_leftovers_of_a_killed_build_are_not_used(site: Site) -> None:
    step = Work("s")
    (item,) = make_plan([step], site.store)
    assert item.key
    (site.store.draft(item.key) / "half").write_text("x")
    entries = site.build(step)
    assert [path.name for path in entries[step].files.iterdir()] == ["name"]


def test_steps_that_are_not_needed_do_not_run(site: Site) -> None:
    bottom = Work("bottom")
    top = Work("top", None, bottom)
    entries = site.build(top)
    entries[bottom].path.rename(site.store.root / "scratch/gone")
    assert set(site.build(top)) == {top}
    assert bottom.runs == 1


def test_a_damaged_input_is_rebuilt_before_it_is_read(site: Site) -> None:
    def copy(job: Job) -> None:
        (job.output / "copy").write_text((job.input("bottom") / "name").read_text())

    bottom = Work("bottom")
    top = Work("top", copy, bottom)
    entries = site.build(top)
    (entries[bottom].files / "name").write_text("b0ttom")
    top.version = 2
    entries = site.build(top)
    assert (entries[top].files / "copy").read_text() == "bottom"
    assert (bottom.runs, top.runs) == (2, 2)
    reasons = {event.step: event.reason for event in site.events if isinstance(event, StepStarted)}
    assert reasons["bottom"] == "damaged in the store: files/name has other content"


def test_a_damaged_entry_of_another_build_is_not_used(site: Site) -> None:
    step = Work("s")
    plan = make_plan([step], site.store)
    entry = site.build(step)[step]
    (entry.files / "name").unlink()
    entries = build_of(site, plan, site.logs, 1).run()
    assert step.runs == 2
    assert (entries[step].files / "name").read_text() == "s"


def test_inputs_that_are_removed_during_a_build_are_an_error(site: Site) -> None:
    bottom = Work("bottom")
    middle = Work("middle", None, bottom)
    top = Work("top", None, middle)
    entries = site.build(middle)
    plan = make_plan([top], site.store)
    for step in (bottom, middle):
        entries[step].path.rename(site.store.root / "scratch" / step.name)
    # What was kept when the plan was made, and is not any more, is made again only if it is needed.
    with pytest.raises(
        StepError, match=r"lost inputs of these steps during the build: middle, top$"
    ):
        build_of(site, plan, site.logs, 1).run()


def test_concurrent_builds_make_a_step_once(site: Site, tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        begun.set()
        assert go_on.wait(10)

    first, second = Work("s", work), Work("s", work)
    other = Site(site.store, tmp_path)
    results: list[Mapping[Step, Entry]] = []
    threads = [
        threading.Thread(target=lambda: results.append(site.build(first))),
        threading.Thread(target=lambda: results.append(other.build(second))),
    ]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    while not other.said(StepProgress):
        time.sleep(0.01)
    assert [event.line for event in other.events if isinstance(event, StepProgress)] == [
        "waiting for another build that makes the same"
    ]
    go_on.set()
    for thread in threads:
        thread.join()
    assert (first.runs, second.runs) == (1, 0)
    assert other.said(StepCached) == ["s"]
    assert len({entry.key for result in results for entry in result.values()}) == 1


# Several boards


class OwnWork(Work):
    """A step of a board, or of all if the board is empty."""

    def __init__(
        self, name: str, board: str, work: Callable[[Job], object] | None = None, *parents: Step
    ) -> None:
        super().__init__(name, work, *parents)
        self.scope = board or "all"

    def settings(self) -> Mapping[str, object]:
        return {"name": self.name, "board": self.scope}


def attempt(site: Site, jobs: int = 2, **targets: Step) -> Outcome:
    """Build the boards that are called as the arguments are."""
    logs = {board: site.logs / board for board in targets}
    for folder in logs.values():
        folder.mkdir(exist_ok=True)
    plans = {board: make_plan([target], site.store) for board, target in targets.items()}
    return build_of(site, merge_plans(plans), logs, jobs).attempt()


def build_of(
    site: Site, plan: Sequence[Planned], logs: Path | Mapping[str, Path], jobs: int
) -> Scheduler:
    site.events.clear()
    return Scheduler(
        plan,
        store=site.store,
        logs=logs,
        listener=site.listen,
        processes=Processes(),
        jobs=jobs,
    )


def test_a_shared_step_is_built_once_for_all_boards(site: Site) -> None:
    kernels = [OwnWork("kernel", "") for _ in range(2)]
    one, two = (
        OwnWork("image", board, None, kernel)
        for board, kernel in zip(("One", "Two"), kernels, strict=True)
    )
    outcome = attempt(site, One=one, Two=two)
    assert [kernel.runs for kernel in kernels] == [1, 0]
    assert outcome.entries[kernels[0]] == outcome.entries[kernels[1]]
    assert outcome.entries[one].key != outcome.entries[two].key
    assert outcome.failures == []
    assert sorted(site.said(StepFinished)) == ["image (One)", "image (Two)", "kernel (One, Two)"]
    logs = sorted(str(path.relative_to(site.logs)) for path in site.logs.rglob("*.log"))
    assert logs == ["One/image.log", "One/kernel.log", "Two/image.log"]
    attempt(site, Two=two, One=one)
    assert site.said(StepCached) == ["kernel (Two, One)", "image (Two)", "image (One)"]


def test_the_last_build_is_recorded_for_all_boards(site: Site) -> None:
    kernels = [OwnWork("kernel", "") for _ in range(2)]
    plans = {}
    for board, kernel in zip(("One", "Two"), kernels, strict=True):
        plans[board] = make_plan([kernel], site.store)
        kernel.scope = board
    build_of(site, merge_plans(plans), {"One": site.logs}, 1).run()
    assert site.store.last("One", "kernel")
    assert site.store.last("One", "kernel") == site.store.last("Two", "kernel")


def test_a_failure_ends_only_the_boards_that_have_the_step(site: Site) -> None:
    kernel = OwnWork("kernel", "")
    after = OwnWork("boot-files", "Bad", None, OwnWork("u-boot", "Bad", fail(StepError("no"))))
    bad = OwnWork("image", "Bad", None, kernel, after)
    good = OwnWork("image", "Good", lambda _: time.sleep(0.1), OwnWork("kernel", ""))
    outcome = attempt(site, Bad=bad, Good=good)
    assert good in outcome.entries
    assert (bad.runs, after.runs, good.runs) == (0, 0, 1)
    (failure,) = outcome.failures
    assert failure.message == "step u-boot (Bad) failed: no"
    assert (failure.step, failure.board) == ("u-boot", "Bad")
    assert failure.log == site.logs / "Bad/u-boot.log"


def test_a_failure_of_a_shared_step_ends_the_build(site: Site) -> None:
    one, two = (
        OwnWork("image", board, None, OwnWork("kernel", "", fail(StepError("no"))))
        for board in ("One", "Two")
    )
    outcome = attempt(site, One=one, Two=two)
    assert [failure.message for failure in outcome.failures] == [
        "step kernel (One, Two) failed: no"
    ]
    assert (one.runs, two.runs) == (0, 0)


def test_running_steps_are_stopped_when_all_boards_failed(site: Site) -> None:
    started = threading.Event()

    def long(job: Job) -> None:
        started.set()
        run(["sleep", "60"], processes=job.tools.processes)

    def short(job: Job) -> None:
        assert started.wait(10)
        raise StepError("no")

    one = OwnWork("image", "One", None, OwnWork("kernel", "One", long))
    one.parents["u-boot"] = OwnWork("u-boot", "One", short)
    two = OwnWork("image", "Two", None, OwnWork("u-boot", "Two", fail(StepError("no"))))
    begin = time.monotonic()
    outcome = attempt(site, jobs=3, One=one, Two=two)
    assert time.monotonic() - begin < 10
    assert {failure.board for failure in outcome.failures} == {"One", "Two"}
    stopped = [e.step for e in site.events if isinstance(e, StepFailed) and e.stopped]
    assert stopped == ["kernel (One)"]
    assert site.leftovers() == []


@pytest.mark.parametrize(("processors", "at_once"), [(2, 1), (8, 1), (32, 4)])
def test_compilations_take_turns_and_leave_room_for_others(
    site: Site, monkeypatch: pytest.MonkeyPatch, processors: int, at_once: int
) -> None:
    lock = threading.Lock()
    at_work: list[str] = []
    together: list[tuple[str, ...]] = []
    reached = threading.Event()

    class Compilation(OwnWork):
        wide = True

    def working(kind: str) -> Callable[[Job], None]:
        def work(job: Job) -> None:
            with lock:
                at_work.append(kind)
                together.append(tuple(sorted(at_work)))
                if at_work.count("wide") == at_once and "narrow" in at_work:
                    reached.set()
            reached.wait(20)  # on a busy machine, threads start late
            time.sleep(0.03)
            with lock:
                at_work.remove(kind)

        return work

    monkeypatch.setattr("builder.scheduler.scheduler.processors", lambda: processors)
    wide = [Compilation(f"kernel{n}", "", working("wide")) for n in range(6)]
    narrow = [OwnWork(f"recipe{n}", "", working("narrow")) for n in range(3)]
    build_of(site, make_plan([*wide, *narrow], site.store), site.logs, 8).run()
    assert max(kinds.count("wide") for kinds in together) == at_once
    assert any({"wide", "narrow"} <= {*kinds} for kinds in together)


def test_root_filesystems_take_turns_in_parallel_with_other_steps(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = threading.Lock()
    at_work: list[str] = []
    together: set[tuple[str, ...]] = set()
    open_stacks: list[str] = []
    most: list[int] = []

    @contextmanager
    def workspace(_: BuildContext, name: str, *, need: int) -> Iterator[SimpleNamespace]:
        open_stacks.append(name)
        most.append(len(open_stacks))
        yield SimpleNamespace(check_alive=lambda: None)
        open_stacks.remove(name)

    def working(root: str) -> Callable[[Job], None]:
        def work(job: Job) -> None:
            job.tools.shared(LayerStack)
            with lock:
                at_work.append(root)
                together.add(tuple(sorted({*at_work})))
            time.sleep(0.02)
            with lock:
                at_work.remove(root)

        return work

    monkeypatch.setattr(BuildContext, "workspace", workspace)
    steps = [OwnWork(f"{root}{n}", root, working(root)) for n in range(3) for root in "AB"]
    free = OwnWork("free", "", lambda _: None)
    plan = [
        replace(item, root=item.step.scope) if item.step is not free else item
        for item in make_plan([*steps, free], site.store)
    ]
    build_of(site, plan, site.logs, 4).run()
    assert together == {("A",), ("B",)}
    assert {*most} == {1}
    assert most == [1, 1], "each was unpacked once"
    assert open_stacks == []


PROGRAM = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from builder.sandbox.process import Processes
from builder.scheduler.scheduler import Scheduler
from builder.plan.plan import make_plan
from builder.steps.step import Step
from builder.store.store import Store

class Slow(Step):
    def settings(self):
        return {{}}

    def run(self, job):
        (job.output / "half").write_text("x")
        print("runs", flush=True)
        time.sleep(float(sys.argv[2]))

root = Path(sys.argv[1])
store = Store(root / "store")
with store.in_use():
    Scheduler(make_plan([Slow("slow", scope="s")], store), store=store, logs=root, listener=lambda event: None,
          processes=Processes(), jobs=1).run()
print("done")
"""


def start(root: Path, seconds: float) -> subprocess.Popen[str]:
    program = root / "program.py"
    program.write_text(PROGRAM)
    argv = [sys.executable, str(program), str(root), str(seconds)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def ends(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    return [process.communicate(timeout=20)[0] for process in processes]


def test_processes_at_once_make_a_step_once(tmp_path: Path) -> None:
    outputs = ends([start(tmp_path, 0.2) for _ in range(2)])
    assert sorted(outputs) == ["done\n", "runs\ndone\n"]


def test_a_killed_build_leaves_no_entry(tmp_path: Path) -> None:
    with start(tmp_path, 60) as process:
        assert process.stdout
        assert process.stdout.readline() == "runs\n"
        process.kill()
    store = Store(tmp_path / "store")
    assert store.entries() == []
    assert ends([start(tmp_path, 0)]) == ["runs\ndone\n"]
    assert not list((store.root / "drafts").iterdir())


@pytest.mark.usefixtures("needs_root")
def test_a_step_has_a_workspace_that_goes_with_it(site: Site) -> None:
    def work(job: Job) -> None:
        with job.workspace("room", need=1 << 20) as workspace:
            output = job.run(workspace, "sh", "-c", "touch here; ls", stdin=None)
            assert output == "here\n"
            job.run(workspace, "cp", "here", job.output)

    step = Work("s", work)
    entries = site.build(step)
    assert sorted(path.name for path in entries[step].files.iterdir()) == ["here", "name"]
    assert site.leftovers() == []
    assert "$ sh -c 'touch here; ls'\nhere\n" in (site.logs / "s.log").read_text()
