# SPDX-License-Identifier: MIT
"""Steps that need root's power: the builder's side, and a workbench in a process of its own."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from builder.engine.containers import Container, ImageRecipe
from builder.engine.engine import CALLER, CAPABLE, CONTROL
from builder.engine.process import Processes, run
from builder.engine.relay import Relay
from builder.errors import CommandError, Interrupted, StepError
from builder.plan.build import Build, StepFailure
from builder.plan.plan import make_plan
from builder.plan.workbench import give
from builder.report.events import Event, StepProgress
from builder.steps.step import Step
from builder.store.store import Store
from tests.unit.engine.worker_steps import Capable, Plain

ROOT = Path(__file__).resolve().parents[3]


class Here:
    """Runs a container's command on this machine, with its environment."""

    user = "1:1"

    def image(self, recipe: ImageRecipe, **_: object) -> str:
        raise AssertionError(recipe)

    def run(
        self,
        container: Container,
        *,
        processes: Processes,
        log: IO[str] | None = None,  # noqa: ARG002 - the one signature
        on_line: Callable[[str], object] | None = None,
    ) -> str:
        environment = {**os.environ, **container.environment}
        return run(
            container.argv, processes=processes, environment=environment, on_line=on_line, cwd=ROOT
        )


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have this process believe that it is in a container, and another one outside."""
    folder = tmp_path / "control"
    folder.mkdir()
    caller = {CONTROL: str(folder), CALLER: f"{os.getuid()}:{os.getgid()}"}
    for name, value in caller.items():
        monkeypatch.setenv(name, value)
    worker = Container(
        image="tools",
        argv=[sys.executable, "-m", "builder.plan.workbench"],
        user="0:0",
        environment={**caller, CAPABLE: "1", "PYTHONPATH": str(ROOT)},
    )
    with Relay(folder, Here(), worker):
        yield


class Building:
    """Builds steps, and notes what they say."""

    def __init__(self, store: Store, logs: Path) -> None:
        self.store = store
        self.logs = logs
        self.processes = Processes()
        self.said: list[str] = []

    def __call__(self, *steps: Step) -> list[str]:
        """Return the process that each step ran in."""
        entries = Build(
            make_plan(steps, self.store),
            store=self.store,
            logs=self.logs,
            listener=self.listen,
            processes=self.processes,
            jobs=1,
        ).run()
        return [(entries[step].files / "process").read_text() for step in steps]

    def listen(self, event: Event) -> None:
        if isinstance(event, StepProgress):
            self.said.append(event.line)


@pytest.fixture
def building(store: Store, tmp_path: Path) -> Building:
    (tmp_path / "logs").mkdir()
    return Building(store, tmp_path / "logs")


def gone(process: str) -> bool:
    """Return whether a process ends soon."""
    for _ in range(100):
        if not Path(f"/proc/{process}").exists():
            return True
        time.sleep(0.05)
    return False


def test_all_steps_that_need_it_run_in_one_other_process(building: Building) -> None:
    here, first, second = building(Plain("here"), Capable(), Capable("again"))
    assert here == str(os.getpid())
    assert first == second != here
    assert building.said == ["at work"] * 3
    assert (building.logs / "capable-again.log").read_text() == "at work\n"
    assert gone(first), "it ends with the build"


def test_what_a_step_opened_is_there_for_the_next(building: Building) -> None:
    building(Capable("starting"), Capable("looking"))
    assert "still running: True" in building.said


def test_a_failure_is_the_steps_own(building: Building) -> None:
    with pytest.raises(StepFailure, match="it failed") as caught:
        building(Capable("badly"))
    assert isinstance(caught.value.cause, CommandError)
    assert (caught.value.replay, caught.value.details) == ("it --again", ("why",))
    assert building.store.entries() == []


def test_a_bug_is_told_with_where_it_happened(building: Building) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)worker_steps\.py.*ZeroDivisionError"):
        building(Capable("surprisingly"))


def test_a_worker_that_dies_fails_the_step(building: Building) -> None:
    with pytest.raises(StepFailure, match="ended with status 5") as caught:
        building(Capable("dead"))
    assert isinstance(caught.value.cause, StepError)


def test_an_interrupt_reaches_the_worker(building: Building) -> None:
    threading.Timer(2.5, building.processes.stop).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        building(Capable("slowly"))
    assert time.monotonic() - started < 30
    assert building.store.entries() == []


def test_what_root_made_is_given_to_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []
    made = tmp_path / "made"
    (made / "folder").mkdir(parents=True)
    (made / "folder/link").symlink_to("/nowhere")
    monkeypatch.setattr(
        "builder.plan.workbench.os.chown", lambda *words, **how: given.append((*words, how))
    )
    give(made, 7, 8)
    mine = os.getuid() == 0
    paths = (made, made / "folder", made / "folder/link")
    assert given == [(path, 7, 8, {"follow_symlinks": False}) for path in paths if mine]
