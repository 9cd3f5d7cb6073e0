# SPDX-License-Identifier: MIT
"""Build environment: the builder's container, and when it is used."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from builder.cli import build_environment as inside
from builder.cli.build_environment import (
    ContainerRequest,
    chosen,
    ensure_build_environment,
    run_inside,
)
from builder.cli.context import ROOT, Context
from builder.containers.containers import Container, ImageRecipe
from builder.containers.docker import Docker
from builder.engine.engine import CALLER, CAPABLE, CONTROL
from builder.engine.requirements import BROWSER, PACKAGES
from builder.errors import HostError, StepError
from builder.steps.step import ROOT_FILESYSTEM
from tests.fixtures.command_line import CommandLine


class Daemon:
    """A Docker daemon whose containers run a test's function."""

    user = "1000:1000"

    def __init__(self) -> None:
        self.recipe: ImageRecipe | None = None
        self.container: Container | None = None
        self.signals: list[str] = []
        self.work: Callable[[], None] = lambda: None
        self.status = 0
        self.closed = False
        self.swept = False
        self.offline = False

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def sweep(self) -> None:
        self.swept = True

    def image(self, recipe: ImageRecipe, *, offline: bool, **_: object) -> str:
        self.recipe = recipe
        self.offline = offline
        return "tools:1"

    @contextmanager
    def started(self, container: Container, **_: object) -> Iterator[Daemon]:
        self.container = container
        yield self

    def output(self) -> Iterator[tuple[int, bytes]]:
        yield 1, b"said\n"
        yield 2, b"complained\n"
        self.work()

    def wait(self) -> int:
        return self.status

    def signal(self, name: str) -> None:
        self.signals.append(name)

    def kill(self) -> None:
        self.signals.append("SIGKILL")


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    boards = tmp_path / "boards"
    boards.mkdir()
    return Context(
        boards_dirs=[boards],
        store=tmp_path / "store",
        store_size=1,
        output=tmp_path / "output",
        progress="plain",
        engine="docker",
        argv=("plan", "--board", "X"),
    )


@pytest.fixture
def as_user(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.cli.build_environment.os.getuid", lambda: 1001)
    monkeypatch.setattr("builder.cli.build_environment.os.getgid", lambda: 100)
    monkeypatch.setattr("builder.cli.build_environment.of_root", lambda _: False)


def run(context: Context, daemon: Daemon, wish: ContainerRequest | None = None) -> int:
    return run_inside(context, cast(Docker, daemon), wish or ContainerRequest())


@pytest.mark.usefixtures("as_user")
def test_the_builder_has_no_capabilities_and_the_mounts_that_it_needs(
    context: Context, daemon: Daemon, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    daemon.status = 3
    given = tmp_path / "given"
    given.mkdir()
    assert run(context, daemon, ContainerRequest(shown=[given])) == 3
    assert capfdbinary.readouterr() == (b"said\n", b"complained\n")
    container = daemon.container
    assert container
    assert (container.image, container.user, container.capabilities) == ("tools:1", "1001:100", ())
    assert list(container.argv[-3:]) == ["plan", "--board", "X"]
    shown = {mount.target: mount.read_only for mount in container.mounts}
    for path in (ROOT, given, *context.boards_dirs):
        assert shown[path], "read-only"
    assert not shown[context.store]
    assert not shown[context.output]
    writable = {path for path, read_only in shown.items() if not read_only}
    control = Path(container.environment[CONTROL])
    assert writable == {context.store, context.output, control}
    assert not any("docker.sock" in str(mount.source) for mount in container.mounts)
    assert container.environment[CALLER] == "1001:100"
    assert container.environment["BUILDER_STORE"] == str(context.store)
    assert CAPABLE not in container.environment
    assert not control.exists(), "it is removed"
    assert daemon.swept


@pytest.mark.usefixtures("as_user")
def test_a_shell_has_the_capabilities_of_a_step(context: Context, daemon: Daemon) -> None:
    run(context, daemon, ContainerRequest(capable=True, stdin=True))
    assert daemon.container
    assert daemon.container.user == "0:0"
    assert daemon.container.capabilities == ROOT_FILESYSTEM
    assert CAPABLE in daemon.container.environment
    assert list(daemon.container.argv[-3:]) == ["plan", "--board", "X"]


def test_the_image_is_made_of_the_lists_of_packages(context: Context, daemon: Daemon) -> None:
    run(context, daemon)
    assert daemon.recipe
    assert daemon.recipe.base == "debian:bookworm-slim"
    assert daemon.recipe.folder == ROOT / "docker/tools"
    assert daemon.recipe.files["packages.txt"] == ROOT / "builder/engine/packages.txt"
    assert daemon.recipe.python_packages == ("requirements.txt", "3.11")
    dockerfile = (daemon.recipe.folder / "Dockerfile").read_text()
    for name in daemon.recipe.files:
        assert name in dockerfile
    assert not daemon.recipe.arguments
    assert not daemon.offline


def test_the_broker_knows_the_images_of_petalinux_by_name(context: Context) -> None:
    find = inside._recipe_finder(context, "7:8")  # noqa: SLF001
    found = find("petalinux-2022.1", "ubuntu-jammy")
    assert (found.name, found.distribution) == ("petalinux-2022.1", "ubuntu-jammy")
    assert found.folder == ROOT / "docker/petalinux"
    assert found.base == "ubuntu:jammy"
    assert (found.arguments["USER_ID"], found.arguments["GROUP_ID"]) == ("7", "8")
    assert not found.files


@pytest.mark.parametrize(
    ("name", "distribution", "problem"),
    [
        ("tools", "debian-bookworm", "there is no image tools"),
        ("2022.1", "ubuntu-focal", "there is no image 2022.1"),
        ("petalinux-1.0", "ubuntu-focal", "there is no image petalinux-1.0"),
        ("petalinux-../x", "ubuntu-focal", "there is no image petalinux-../x"),
        ("petalinux-2022.1", "../x", "cannot have the unknown distribution ../x"),
    ],
)
def test_the_broker_knows_no_other_images(
    context: Context, name: str, distribution: str, problem: str
) -> None:
    with pytest.raises(StepError, match=problem):
        inside._recipe_finder(context, "7:8")(name, distribution)  # noqa: SLF001


@pytest.mark.parametrize("words", [("build",), ("test",), ("shell", "kernel"), ("plan",)])
def test_offline_reaches_the_image(
    build_py: CommandLine, monkeypatch: pytest.MonkeyPatch, words: Sequence[str]
) -> None:
    wishes: list[ContainerRequest] = []

    def stop(_: Context, wish: ContainerRequest) -> None:
        wishes.append(wish)
        raise KeyboardInterrupt

    monkeypatch.setattr("builder.cli.planning.ensure_build_environment", stop)
    build_py(*words, "--board", "Pynq-Z2", "--offline")
    build_py(*words, "--board", "Pynq-Z2")
    assert [wish.offline for wish in wishes] == [True, False]


def test_offline_is_passed_to_the_image(context: Context, daemon: Daemon) -> None:
    run(context, daemon, ContainerRequest(offline=True))
    assert daemon.offline


def test_only_tests_have_an_image_with_a_browser(context: Context, daemon: Daemon) -> None:
    run(context, daemon, ContainerRequest(browser=True))
    assert daemon.recipe
    assert daemon.recipe.arguments == {"BROWSER": BROWSER}
    packages, dockerfile = PACKAGES.read_text(), (daemon.recipe.folder / "Dockerfile").read_text()
    assert f"{BROWSER}? " in packages
    assert f"{BROWSER}\\?) ;;" in dockerfile, "otherwise all images have it"
    assert dockerfile.count("BROWSER=") == 1


@pytest.mark.parametrize(
    ("times", "status", "signals"), [(1, 130, ["SIGINT"]), (2, 137, ["SIGINT", "SIGKILL"])]
)
def test_ctrl_c_is_passed_on_and_the_second_kills(
    context: Context, daemon: Daemon, times: int, status: int, signals: list[str]
) -> None:
    def interrupt() -> None:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    daemon.work, daemon.status = interrupt, status
    assert run(context, daemon) == 130
    assert sorted(daemon.signals) == sorted(signals)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("as_user")
def test_ctrl_c_does_not_interrupt_the_cleaning_up(
    context: Context, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[Container] = []

    def give_back(container: Container, **_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        given_back.append(container)

    def work() -> None:
        (context.open_store().root / "scratch/native-programs-1").mkdir()
        monkeypatch.setattr("builder.cli.build_environment.of_root", lambda _: True)

    monkeypatch.setattr(daemon, "run", give_back, raising=False)
    daemon.work, daemon.status = work, 130
    assert run(context, daemon) == 130
    assert len(given_back) == 1
    assert not [*(context.store / "scratch").iterdir()]
    assert not daemon.signals, "the container had ended"


def test_ctrl_c_while_the_container_starts_is_passed_on(
    context: Context, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = daemon.started

    @contextmanager
    def interrupted(container: Container, **more: object) -> Iterator[Daemon]:
        os.kill(os.getpid(), signal.SIGINT)
        with started(container, **more) as running:
            yield running

    def work() -> None:
        deadline = time.monotonic() + 10
        while not daemon.signals and time.monotonic() < deadline:
            time.sleep(0.01)

    monkeypatch.setattr(daemon, "started", interrupted)
    daemon.work, daemon.status = work, 130
    assert run(context, daemon) == 130
    assert daemon.signals == ["SIGINT"]


@pytest.mark.usefixtures("as_user")
def test_drafts_of_a_killed_worker_are_removed(context: Context, daemon: Daemon) -> None:
    def work() -> None:
        (context.open_store().root / "scratch/native-programs-1").mkdir()

    daemon.work = work
    run(context, daemon)
    assert not [*(context.store / "scratch").iterdir()]


def no_docker() -> Docker:
    raise HostError("no Docker daemon answers")


def test_docker_is_taken_where_a_daemon_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Any = object()
    monkeypatch.setattr("builder.cli.build_environment.Docker", lambda: found)
    assert chosen("auto") is chosen("docker") is found
    assert chosen("host") is None
    monkeypatch.setattr("builder.cli.build_environment.Docker", no_docker)
    assert chosen("auto") is chosen("host") is None
    with pytest.raises(HostError, match="no Docker daemon answers"):
        chosen("docker")


def test_the_command_line_runs_again_where_builds_run(
    context: Context, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[str] = []
    monkeypatch.setattr("builder.cli.build_environment.become_root", lambda _: done.append("root"))
    monkeypatch.setattr("builder.cli.build_environment.run_inside", lambda *_: 7)
    monkeypatch.setattr("builder.cli.build_environment.chosen", lambda _: daemon)
    with pytest.raises(SystemExit) as ended:
        ensure_build_environment(context)
    assert ended.value.code == 7
    assert daemon.closed
    monkeypatch.setattr("builder.cli.build_environment.chosen", lambda _: None)
    ensure_build_environment(context)
    assert done == ["root"]
    monkeypatch.setenv(CONTROL, str(tmp_path))
    monkeypatch.setattr(inside, "_follow_broker", lambda folder: done.append(str(folder)))
    ensure_build_environment(context)
    assert done == ["root", str(tmp_path)], "this is where builds run"


@pytest.mark.usefixtures("as_user")
def test_files_left_by_root_get_the_caller_as_owner(
    context: Context, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Container] = []
    monkeypatch.setattr(daemon, "run", lambda each, **_: ran.append(each), raising=False)
    monkeypatch.setattr("builder.cli.build_environment.of_root", lambda _: False)
    run(context, daemon)
    assert not ran
    monkeypatch.setattr("builder.cli.build_environment.of_root", lambda _: True)
    run(context, daemon)
    assert len(ran) == 2, "before and after"
    _, *module, store, output, user, group = ran[0].argv
    assert module == ["-m", "builder.scheduler.reclaim"]
    assert (store, output) == (str(context.store), str(context.output))
    assert (user, group) == ("1001", "100")
    assert (ran[0].user, ran[0].network) == ("0:0", False)


def test_an_unreadable_store_counts_as_roots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "builder.cli.build_environment.os.walk", lambda _: []
    )  # what others see of it
    monkeypatch.setattr("builder.cli.build_environment.os.access", lambda path, _: path != tmp_path)
    assert inside.of_root(tmp_path)
    assert not inside.of_root(tmp_path / "output")


def test_files_that_another_build_removes_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "builder.cli.build_environment.os.walk", lambda folder: [(folder, ["drafts"], ["gone"])]
    )
    assert not inside.of_root(tmp_path)
