# SPDX-License-Identifier: MIT
"""Steps that need root's power: the builder's side, and a workbench in a process of its own."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import AuthenticationError, Pipe
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import IO, Any

import pytest

from builder.containers.broker import ContainerBroker
from builder.containers.containers import Container, ImageRecipe
from builder.engine.engine import CALLER, CAPABLE, CONTROL
from builder.errors import CommandError, HostError, Interrupted, StepError
from builder.plan.plan import make_plan
from builder.report.events import Event, StepProgress
from builder.rootfs.layers import LayerStack
from builder.sandbox.process import Processes, run
from builder.scheduler.build_context import BuildContext
from builder.scheduler.ownership import give
from builder.scheduler.reclaim import main as reclaim
from builder.scheduler.scheduler import Scheduler, StepFailure
from builder.scheduler.worker_client import Task, _Ending
from builder.scheduler.worker_server import carry_out
from builder.steps.step import Step
from builder.store.store import Store
from tests.fixtures.product import ROOT
from tests.fixtures.worker_steps import Capable, Plain


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
        argv=[sys.executable, "-m", "builder.scheduler.worker_server"],
        user="0:0",
        environment={**caller, CAPABLE: "1", "PYTHONPATH": str(ROOT)},
    )
    with ContainerBroker(folder, Here(), worker):
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
        entries = Scheduler(
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


def test_a_full_disk_is_no_bug(building: Building) -> None:
    with pytest.raises(StepFailure, match=r": no space is left, .* free$") as caught:
        building(Capable("full"))
    assert isinstance(caught.value.cause, HostError)


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


def test_an_interrupt_wakes_who_waits_for_the_worker() -> None:
    here, there = Pipe()
    woken: list[bool] = []

    def wait() -> None:
        with suppress(EOFError):
            here.recv()
        woken.append(True)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    time.sleep(0.2)  # it is in the call by now
    _Ending(here).kill()
    waiting.join(5)
    assert woken
    here.close()
    there.close()
    _Ending(here).kill()


def test_what_root_made_is_given_to_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []
    made = tmp_path / "made"
    (made / "folder").mkdir(parents=True)
    (made / "folder/link").symlink_to("/nowhere")
    monkeypatch.setattr(
        "builder.scheduler.ownership.os.chown", lambda *words, **how: given.append((*words, how))
    )
    give(made, 7, 8)
    mine = os.getuid() == 0
    paths = (made, made / "folder", made / "folder/link")
    assert given == [(path, 7, 8, {"follow_symlinks": False}) for path in paths if mine]


def test_what_another_builder_works_at_stays_whose_it_is(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root filesystem on disk has files of root's that are to stay so: owners go into images."""
    output = tmp_path / "output"
    for made in ("drafts/dead", "scratch/left", "archives/sets"):
        (store.root / made).mkdir()
    (output / "logs").mkdir(parents=True)
    given: list[Path] = []
    monkeypatch.setattr(
        "builder.scheduler.ownership.give_alone", lambda path, *_: given.append(path)
    )
    monkeypatch.setattr("builder.scheduler.reclaim.give_alone", lambda path, *_: given.append(path))
    with store.building("alive"), store.scratch("alive") as scratch:
        draft = store.draft("alive")
        for folder in (draft, scratch):
            (folder / "root.txt").touch()
        reclaim([str(store.root), str(output), "7", "8"])
    names = {str(path.relative_to(tmp_path)) for path in given if "alive" in str(path)}
    assert all(name.endswith(".lock") for name in names), "the locks alone"
    assert {store.root, store.root / "drafts", store.root / "scratch"} <= {*given}
    assert {store.root / "drafts/dead", store.root / "scratch/left"} <= {*given}
    assert {store.root / "archives/sets", output / "logs"} <= {*given}


@pytest.mark.parametrize("how", ["badly", "well"])
def test_what_a_step_left_is_given_to_the_caller_and_a_failure_of_that_is_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Nobody waits for a step for ever, and the builder can remove what it did not finish."""
    given: list[Path] = []

    def refuse(path: Path, *_: int) -> None:
        given.append(path)
        raise PermissionError("not root")

    monkeypatch.setattr("builder.scheduler.worker_server.give", refuse)
    output = tmp_path / "made"
    output.mkdir()
    here, there = Pipe()
    task = Task(
        step=Capable(how),
        inputs={},
        output=output,
        log=tmp_path / "log",
        store=store.root,
        root=None,
        offline=False,
    )
    carry_out(there, task, BuildContext(store, Processes()))
    said = []
    with suppress(EOFError):
        while True:
            said.append(here.recv())
    here.close()
    assert given == [output]
    assert [what for what, _ in said] == ["line", "error"]
    assert "not root" in str(said[-1][1])


def test_who_hangs_up_before_saying_what_to_do_ends_nobody_elses_step(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Client

    def twice(address: str, family: str, *, authkey: bytes) -> Connection:
        connect(address, family, authkey=authkey).close()
        return connect(address, family, authkey=authkey)

    monkeypatch.setattr("builder.scheduler.worker_client.Client", twice)
    first, second = building(Capable(), Capable("again"))
    assert first == second


def test_who_has_not_the_key_gets_nothing_done(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Client
    refused: list[str] = []

    def other_first(address: str, family: str, *, authkey: bytes) -> Connection:
        with suppress(ConnectionResetError), pytest.raises((AuthenticationError, EOFError)):
            connect(address, family, authkey=b"another")
        with connect(address, family) as without:  # it sends its task at once
            without.send("task")
            with suppress(EOFError, ConnectionResetError):
                while True:
                    refused.append(without.recv_bytes()[:11].decode())
        return connect(address, family, authkey=authkey)

    monkeypatch.setattr("builder.scheduler.worker_client.Client", other_first)
    (process,) = building(Capable())
    assert process
    assert refused == ["#CHALLENGE#", "#FAILURE#"]


def test_what_goes_meanwhile_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "archives/replaced").mkdir(parents=True)
    scan = os.scandir

    def replacing(path: Any) -> Any:
        found = list(scan(path))
        with suppress(FileNotFoundError):
            (tmp_path / "archives/replaced").rmdir()
        return _Listing(found)

    monkeypatch.setattr("os.scandir", replacing)
    give(tmp_path, 7, 8)
    assert not (tmp_path / "archives/replaced").exists()


class _Listing:
    """What os.scandir returns, of what is there no more."""

    def __init__(self, found: list[os.DirEntry[str]]) -> None:
        self._found = iter(found)

    def __enter__(self) -> _Listing:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self._found

    def __next__(self) -> os.DirEntry[str]:
        return next(self._found)


def test_all_that_a_build_opened_is_closed_whatever_goes_wrong_with_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Engine:
        @contextmanager
        def workspace(self, directory: Path, **_: object) -> Iterator[Path]:
            yield directory
            closed.append("layers")
            raise OSError("busy")

        def close(self) -> None:
            closed.append("engine")

    monkeypatch.setattr("builder.scheduler.build_context.engine_here", lambda _: Engine())
    with pytest.raises(OSError, match="busy"), BuildContext(store, Processes()) as toolbox:
        toolbox.shared(LayerStack)
    assert closed == ["layers", "engine"]
