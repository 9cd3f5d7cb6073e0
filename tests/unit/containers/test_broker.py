# SPDX-License-Identifier: MIT
"""Broker of containers and its client."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from builder.containers.broker import ContainerBroker, RelayedContainers
from builder.containers.capability_key import take_key
from builder.containers.containers import Container, ImageRecipe, Mount, not_root
from builder.errors import BuildError, CommandError, HostError, Interrupted, StepError
from builder.sandbox.process import Processes, run


class Here:
    """Runner of commands of containers on this machine, which records requests."""

    user = "1:1"

    def __init__(self) -> None:
        self.asked: list[Container | ImageRecipe] = []
        self.failure: BuildError | None = None
        self.offline = False

    def image(
        self,
        recipe: ImageRecipe,
        *,
        processes: Processes,  # noqa: ARG002 - the one signature
        log: IO[str],
        say: Callable[[str], object],
        offline: bool = False,
    ) -> str:
        self.asked.append(recipe)
        self.offline = offline
        if self.failure:
            raise self.failure
        log.write("a line for the log\n")
        say("being made")
        return f"made/{recipe.name}"

    def run(
        self,
        container: Container,
        *,
        processes: Processes,
        log: IO[str] | None = None,  # noqa: ARG002
        on_line: Callable[[str], object] | None = None,
    ) -> str:
        self.asked.append(container)
        return run(container.argv, processes=processes, on_line=on_line)


@pytest.fixture
def outside() -> Here:
    return Here()


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    (tmp_path / "shown").mkdir()
    return tmp_path / "shown"


@pytest.fixture
def containers(outside: Here, tmp_path: Path, shown: Path) -> Iterator[RelayedContainers]:
    (tmp_path / "read").mkdir()
    worker = Container(
        image="tools",
        argv=["sh", "-c", "echo working; exit 3"],
        user="0:0",
        capabilities=["SYS_ADMIN"],
        mounts=[
            Mount(source=shown, target=shown),
            Mount(source=tmp_path / "read", target=tmp_path / "read", read_only=True),
        ],
    )
    with ContainerBroker(tmp_path, outside, worker, find_recipe(shown)):
        yield RelayedContainers(tmp_path, "5:6")


def find_recipe(folder: Path) -> Callable[[str, str], ImageRecipe]:
    """Return a finder that knows the one image `tool`."""

    def find(name: str, distribution: str) -> ImageRecipe:
        if name != "tool":
            raise StepError(f"there is no image {name}")
        return replace(recipe(folder), distribution=distribution)

    return find


def container(*argv: str) -> Container:
    return Container(image="tools", argv=argv, user="5:6")


def test_a_command_is_run_outside_and_its_lines_come_back(
    containers: RelayedContainers, outside: Here, shown: Path, processes: Processes
) -> None:
    (shown / "below").mkdir()
    wanted = replace(
        container("sh", "-c", "echo one; echo two >&2"),
        mounts=[Mount(source=shown / "below", target=Path("/x"), read_only=True)],
        environment={"A": "b"},
        network=True,
        cwd=shown,
    )
    log, lines = io.StringIO(), list[str]()
    said = containers.run(wanted, processes=processes, log=log, on_line=lines.append)
    assert said == "one\ntwo\n"
    assert lines == ["one", "two"]
    assert log.getvalue() == "$ sh -c 'echo one; echo two >&2'\none\ntwo\n"
    (asked,) = outside.asked
    assert asked == replace(wanted, user=outside.user)


def test_a_failure_comes_back_as_it_was(
    containers: RelayedContainers, outside: Here, shown: Path, processes: Processes
) -> None:
    with pytest.raises(CommandError, match="sh ended with status 7") as caught:
        containers.run(container("sh", "-c", "echo last words; exit 7"), processes=processes)
    assert caught.value.status == 7
    assert caught.value.details == ("last words",)
    assert caught.value.replay == "sh -c 'echo last words; exit 7'"
    assert str(caught.value) == caught.value.message
    outside.failure = HostError("no daemon", hint="start it")
    with pytest.raises(HostError, match="no daemon") as refused:
        containers.image(recipe(shown), processes=processes, log=io.StringIO(), say=print)
    assert refused.value.hint == "start it"


def recipe(folder: Path) -> ImageRecipe:
    return ImageRecipe(
        name="tool",
        distribution="b",
        base="a:b",
        suite="b",
        sources="deb x\n",
        folder=folder,
        files={"list": folder / "list.txt"},
        arguments={"A": "1"},
        python_packages=("list", "3.11"),
    )


def test_an_image_is_made_outside(
    containers: RelayedContainers, outside: Here, shown: Path, processes: Processes
) -> None:
    log, said = io.StringIO(), list[str]()
    tag = containers.image(recipe(shown), processes=processes, log=log, say=said.append)
    assert tag == "made/tool"
    (asked,) = outside.asked
    assert isinstance(asked, ImageRecipe)
    assert asked == recipe(shown)
    assert (log.getvalue(), said) == ("a line for the log\n", ["being made"])
    assert not outside.offline
    containers.image(recipe(shown), processes=processes, log=log, say=said.append, offline=True)
    assert outside.offline


def test_an_image_is_made_of_the_brokers_recipe(
    containers: RelayedContainers, outside: Here, shown: Path, processes: Processes
) -> None:
    wanted = replace(recipe(shown), folder=Path("/etc"), files={"x": Path("/etc/shadow")}, base="c")
    containers.image(wanted, processes=processes, log=io.StringIO(), say=print)
    assert outside.asked == [recipe(shown)]


def test_an_unknown_image_is_not_made(
    containers: RelayedContainers, outside: Here, shown: Path, processes: Processes
) -> None:
    with pytest.raises(StepError, match="there is no image other"):
        containers.image(
            replace(recipe(shown), name="other"),
            processes=processes,
            log=io.StringIO(),
            say=print,
        )
    assert not outside.asked


def test_containers_run_images_that_the_broker_made_and_no_others(
    containers: RelayedContainers, outside: Here, shown: Path, processes: Processes
) -> None:
    wanted = replace(container("true"), image="made/tool")
    with pytest.raises(StepError, match="the image made/tool was not made for this builder"):
        containers.run(wanted, processes=processes)
    containers.image(recipe(shown), processes=processes, log=io.StringIO(), say=print)
    containers.run(wanted, processes=processes)
    assert len(outside.asked) == 2


def test_containers_run_as_the_caller(
    containers: RelayedContainers, outside: Here, processes: Processes
) -> None:
    containers.run(replace(container("true"), user="0:0"), processes=processes)
    (asked,) = outside.asked
    assert isinstance(asked, Container)
    assert asked.user == outside.user


def test_the_key_is_taken_once_and_nothing_is_done_without_it(  # noqa: PLR0917 - fixtures
    containers: RelayedContainers,
    outside: Here,
    shown: Path,
    processes: Processes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    key = take_key(tmp_path)
    assert len(key) == 32
    assert not (tmp_path / "key").exists()
    for other in (b"", key[:-1] + bytes([key[-1] ^ 1])):
        monkeypatch.setattr("builder.containers.broker.take_key", lambda _, other=other: other)
        with pytest.raises(StepError, match="is not signed with the builder's key"):
            containers.work(processes=processes, on_line=print)
        with pytest.raises(StepError, match="is not signed with the builder's key"):
            containers.run(container("true"), processes=processes)
        with pytest.raises(StepError, match="is not signed with the builder's key"):
            containers.image(recipe(shown), processes=processes, log=io.StringIO(), say=print)
    assert not outside.asked


def test_only_the_caller_and_root_may_connect(
    outside: Here, shown: Path, tmp_path: Path, processes: Processes
) -> None:
    with ContainerBroker(tmp_path, outside, container("true"), find_recipe(shown)) as broker:
        assert (tmp_path / "containers").stat().st_mode & 0o777 == 0o600
        broker.users = {os.getuid() + 1}
        with pytest.raises(StepError, match=f"user {os.getuid()} may not send requests"):
            RelayedContainers(tmp_path, "5:6").run(container("true"), processes=processes)
    assert not outside.asked


def test_only_the_builders_own_worker_has_capabilities(
    containers: RelayedContainers, outside: Here, processes: Processes
) -> None:
    containers.run(replace(container("true"), capabilities=["SYS_ADMIN"]), processes=processes)
    (asked,) = outside.asked
    assert isinstance(asked, Container)
    assert asked.capabilities == ()
    lines: list[str] = []
    with pytest.raises(CommandError, match="status 3"):
        containers.work(processes=processes, on_line=lines.append)
    assert lines == ["working"]
    worker = outside.asked[1]
    assert isinstance(worker, Container)
    assert worker.capabilities == ["SYS_ADMIN"]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (("shown", False), None),
        (("shown/deeper", True), None),
        (("read", True), None),
        (("read", False), "is not shared with the builder's container with write access"),
        ((".", True), "is not shared with the builder's container"),
        (("shown/..", True), "is not shared with the builder's container"),
        (("link", True), "is not shared with the builder's container"),
        (("shown/secret", True), "is not shared with the builder's container"),
        (("shown/missing", True), "cannot be mounted: No such file"),
    ],
)
def test_no_container_sees_more_than_the_builder(
    containers: RelayedContainers,
    outside: Here,
    tmp_path: Path,
    asked: tuple[str, bool],
    problem: str | None,
) -> None:
    source, read_only = asked
    processes = Processes()
    (tmp_path / "shown/deeper").mkdir()
    (tmp_path / "shown/secret").symlink_to("/etc")
    (tmp_path / "link").symlink_to("/etc")
    mount = Mount(source=tmp_path / source, target=Path("/x"), read_only=read_only)
    wanted = replace(container("true"), mounts=[mount])
    if problem is None:
        containers.run(wanted, processes=processes)
        return
    with pytest.raises(StepError, match=problem):
        containers.run(wanted, processes=processes)
    assert not outside.asked


def test_the_directory_of_the_sockets_is_not_mounted(
    outside: Here, shown: Path, tmp_path: Path, processes: Processes
) -> None:
    control = tmp_path / "control"
    control.mkdir()
    mounts = [Mount(source=each, target=each) for each in (control, shown)]
    worker = replace(container("true"), mounts=mounts)
    with ContainerBroker(control, outside, worker, find_recipe(shown)):
        wanted = replace(container("true"), mounts=[Mount(source=control, target=Path("/x"))])
        with pytest.raises(StepError, match="is not shared with the builder's container"):
            RelayedContainers(control, "5:6").run(wanted, processes=processes)


def test_a_stopped_request_stops_its_container(
    containers: RelayedContainers, outside: Here, processes: Processes, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    command = container("sh", "-c", f"echo $$ > {pid}; exec sleep 600")
    threading.Timer(0.3, processes.stop).start()
    with pytest.raises(Interrupted):
        containers.run(command, processes=processes)
    for _ in range(100):
        if not Path(f"/proc/{pid.read_text().strip()}").exists():
            break
        time.sleep(0.05)
    else:
        pytest.fail("it still runs")


def test_commands_that_refuse_root_run_as_the_caller_or_an_unused_user(
    containers: RelayedContainers,
) -> None:
    assert containers.user == "5:6"
    assert not_root(0, 0) == "65532:65532"
    assert not_root(1001, 100) == "1001:100"
