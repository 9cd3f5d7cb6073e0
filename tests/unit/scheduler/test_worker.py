# SPDX-License-Identifier: MIT
"""Steps that need capabilities: the builder's client, and a worker in a process of its own."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pytest

from builder.containers.broker import ContainerBroker
from builder.containers.containers import Container, ImageRecipe
from builder.containers.protocol import (
    Answer,
    Channel,
    Failure,
    Line,
    StepRequest,
    exchange,
)
from builder.engine.engine import CALLER, CAPABLE, CONTROL
from builder.errors import CommandError, HostError, Interrupted, StepError
from builder.plan.plan import make_plan
from builder.report.events import Event, StepProgress
from builder.rootfs.layers import LayerStack
from builder.sandbox.process import Processes, run
from builder.sandbox.workspace import PlainWorkspace, Workspace
from builder.scheduler.build_context import BuildContext
from builder.scheduler.ownership import change_owner
from builder.scheduler.reclaim import main as reclaim
from builder.scheduler.scheduler import Scheduler, StepFailure
from builder.scheduler.step_state import encode_step
from builder.scheduler.worker_server import Worker, run_step
from builder.steps.step import Step
from builder.store.store import Store
from tests.fixtures.product import ROOT
from tests.fixtures.worker_steps import Capable, Plain

PACKAGES = ("builder", "tests")
WORKER = f"from builder.scheduler.worker_server import main; main({PACKAGES})"


class Here:
    """Runner of a container's command on this machine, with its environment."""

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
    """Make this process a builder in a container, with a broker outside."""
    folder = tmp_path / "control"
    folder.mkdir()
    caller = {CONTROL: str(folder), CALLER: f"{os.getuid()}:{os.getgid()}"}
    for name, value in caller.items():
        monkeypatch.setenv(name, value)
    worker = Container(
        image="tools",
        argv=[sys.executable, "-c", WORKER],
        user="0:0",
        environment={**caller, CAPABLE: "1", "PYTHONPATH": str(ROOT)},
    )
    with ContainerBroker(folder, Here(), worker, no_recipe):
        yield


def no_recipe(name: str, distribution: str) -> ImageRecipe:
    raise AssertionError((name, distribution))


class Building:
    """Builder of steps, which records their progress lines."""

    def __init__(self, store: Store, logs: Path) -> None:
        self.store = store
        self.logs = logs
        self.processes = Processes()
        self.said: list[str] = []

    def __call__(self, *steps: Step) -> list[str]:
        """Build steps, and return the ID of the process that each one ran in."""
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
    """Return whether a process ends within five seconds."""
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


def test_workspaces_stay_open_for_the_next_step(building: Building) -> None:
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


def test_a_bug_is_reported_with_its_traceback(building: Building) -> None:
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


def test_an_interrupt_wakes_a_thread_that_waits_for_the_worker() -> None:
    here, there = map(Channel, socket.socketpair())
    woken: list[bool] = []

    def wait() -> None:
        here.wait()
        woken.append(True)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    time.sleep(0.2)  # it is in the call by now
    here.kill()
    waiting.join(5)
    assert woken
    with here, there:
        pass
    here.kill()


def test_a_build_may_have_several_workers_in_turn(building: Building) -> None:
    (first,) = building(Capable("well"))
    building.processes = Processes()
    (second,) = building(Capable("again"))
    assert first != second


def test_files_of_root_get_the_caller_as_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []
    made = tmp_path / "made"
    (made / "folder").mkdir(parents=True)
    (made / "folder/link").symlink_to("/nowhere")
    monkeypatch.setattr(
        "builder.scheduler.ownership.os.chown", lambda *words, **how: given.append((*words, how))
    )
    change_owner(made, 7, 8)
    mine = os.getuid() == 0
    paths = (made, made / "folder", made / "folder/link")
    assert given == [(path, 7, 8, {"follow_symlinks": False}) for path in paths if mine]


def test_files_of_a_running_builder_keep_their_owner(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root filesystem on disk has files of root's, and their owners go into an image."""
    output = tmp_path / "output"
    for made in ("drafts/dead", "scratch/left", "archives/sets"):
        (store.root / made).mkdir()
    (output / "logs").mkdir(parents=True)
    given: list[Path] = []
    monkeypatch.setattr(
        "builder.scheduler.ownership.change_owner_of_one", lambda path, *_: given.append(path)
    )
    monkeypatch.setattr(
        "builder.scheduler.reclaim.change_owner_of_one", lambda path, *_: given.append(path)
    )
    with store.building("alive"), store.scratch("alive") as scratch:
        draft = store.draft("alive")
        for folder in (draft, scratch):
            (folder / "root.txt").touch()
        reclaim([str(store.root), str(output), "7", "8"])
    names = {str(path.relative_to(tmp_path)) for path in given if "alive" in str(path)}
    assert all(name.endswith(".lock") for name in names), "only the locks"
    assert {store.root, store.root / "drafts", store.root / "scratch"} <= {*given}
    assert {store.root / "drafts/dead", store.root / "scratch/left"} <= {*given}
    assert {store.root / "archives/sets", output / "logs"} <= {*given}


@pytest.mark.parametrize("how", ["badly", "well"])
def test_the_caller_gets_a_steps_output_and_a_failure_of_that_is_reported(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The builder gets an answer, and can remove the files of an unfinished step."""
    given: list[Path] = []

    def refuse(path: Path, *_: int) -> None:
        given.append(path)
        raise PermissionError("not root")

    monkeypatch.setattr("builder.scheduler.worker_server.change_owner", refuse)
    output = tmp_path / "made"
    output.mkdir()
    answers = ran(request(store, tmp_path, step=encode_step(Capable(how)), output=output), store)
    assert given == [output]
    line, failure = answers
    assert isinstance(line, Line)
    assert isinstance(failure, Failure)
    assert "not root" in failure.message


def request(store: Store, folder: Path, **more: Any) -> StepRequest:
    """Return a request to run a step."""
    facts = {
        "step": encode_step(Capable()),
        "inputs": {},
        "output": folder,
        "log": folder / "log",
        "store": store.root,
        "root": None,
        "offline": False,
    }
    return StepRequest(**{**facts, **more})


def ran(request: StepRequest, store: Store) -> list[Any]:
    """Return the answers of a worker in this process."""
    here, there = socket.socketpair()
    with here, Channel(there) as channel:
        run_step(channel, request, BuildContext(store, Processes()), PACKAGES)
        channel.kill()
        lines = here.makefile("rb").read().splitlines()
    return [(Failure if b'"error"' in line else Line).model_validate_json(line) for line in lines]


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ({}, "the description of a step is malformed"),
        ({"object": ["os:_wrap_close", {}]}, "os:_wrap_close is not one of the builder's classes"),
        ({"object": ["tests.fixtures.worker_steps:os", {}]}, "is not a class of the expected kind"),
        ({"object": ["builder.store.store:Entry", {}]}, "builder.store.store:Entry is not a class"),
        ({"path": "/"}, "describes a PosixPath"),
    ],
)
def test_a_worker_runs_nothing_but_steps(
    store: Store, tmp_path: Path, step: object, problem: str
) -> None:
    (failure,) = ran(request(store, tmp_path, step=step), store)
    assert failure.kind == "StepError"
    assert problem in failure.message


def test_a_killed_workspace_is_an_error_of_the_step(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "builder.scheduler.worker_server.caller", lambda: (os.getuid(), os.getgid())
    )
    _, failure = ran(request(store, tmp_path, step=encode_step(Capable("homeless"))), store)
    assert failure.kind == "StepError"
    assert "was killed" in failure.message


def test_an_input_that_has_gone_is_an_error(store: Store, tmp_path: Path) -> None:
    (failure,) = ran(request(store, tmp_path, inputs={"top": "0123"}), store)
    assert failure.message == "the output of top is no longer in the store"


def answers(
    store: Store, folder: Path, key: bytes, *, worker: Worker | None = None
) -> list[Answer]:
    """Return a worker's answers to a client with a key."""
    here, there = socket.socketpair()
    worker = worker or Worker(b"key", PACKAGES)
    serving = threading.Thread(target=worker.serve, args=[there])
    serving.start()
    try:
        with Channel(here) as channel:
            return [*exchange(channel, request(store, folder), key)]
    finally:
        serving.join()


def test_a_worker_answers_nobody_without_the_key(store: Store, tmp_path: Path) -> None:
    assert [each.type for each in answers(store, tmp_path, b"key")] == ["line", "result"]
    with pytest.raises(StepError, match="is not signed with the builder's key"):
        answers(store, tmp_path, b"another")


def test_a_worker_answers_no_foreign_peer(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Channel, "peer_user", lambda _: 4711)
    with pytest.raises(StepError, match="user 4711 may not send requests"):
        answers(store, tmp_path, b"key")


@pytest.mark.parametrize(
    "sent",
    [b"", b"no JSON\n", b'{"type": "signed", "body": "", "mac": "", "more": 1}\n', b"\x80\x04."],
    ids=["nothing", "no JSON", "unknown key", "a pickle"],
)
def test_a_peer_that_breaks_the_protocol_ends_no_other_step(
    building: Building, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    connect = socket.socket.connect

    def twice(self: socket.socket, address: str) -> None:
        if address.endswith("/steps"):
            with socket.socket(socket.AF_UNIX) as other:
                connect(other, address)
                other.sendall(sent)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", twice)
    first, second = building(Capable(), Capable("again"))
    assert first == second


def test_files_that_disappear_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "archives/replaced").mkdir(parents=True)
    scan = os.scandir

    def replacing(path: Any) -> Any:
        found = list(scan(path))
        with suppress(FileNotFoundError):
            (tmp_path / "archives/replaced").rmdir()
        return _Listing(found)

    monkeypatch.setattr("os.scandir", replacing)
    change_owner(tmp_path, 7, 8)
    assert not (tmp_path / "archives/replaced").exists()


class _Listing:
    """Result of os.scandir, with entries that do not exist any more."""

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


def test_all_resources_are_closed_even_if_closing_one_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Engine:
        @contextmanager
        def workspace(self, directory: Path, **_: object) -> Iterator[Workspace]:
            yield PlainWorkspace(directory, processes=Processes())
            closed.append("layers")
            raise OSError("busy")

        def close(self) -> None:
            closed.append("engine")

    monkeypatch.setattr("builder.scheduler.build_context.engine_here", lambda _: Engine())
    with pytest.raises(OSError, match="busy"), BuildContext(store, Processes()) as toolbox:
        toolbox.shared(LayerStack)
    assert closed == ["layers", "engine"]
