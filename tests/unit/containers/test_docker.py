# SPDX-License-Identifier: MIT
"""Docker daemon: whether it can be used, and removal of containers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, DockerException

from builder.containers import docker
from builder.containers.docker import Docker
from builder.containers.process_identity import Owner, this_process
from builder.errors import HostError
from builder.steps.step import ROOT_FILESYSTEM
from tests.fixtures.command_line import CommandLine


class Left:
    """A container of the daemon."""

    def __init__(self, owner: str, status: str = "running", ended: str = "0001") -> None:
        self.labels = {"zynq-sd-builder.owner": owner}
        self.status = status
        self.attrs = {"Created": "2020-01-01T00:00:00.1Z", "State": {"FinishedAt": ended}}
        self.removed = False

    def remove(self, *, force: bool, v: bool) -> None:
        assert force
        assert v
        self.removed = True


class Client:
    """Result of docker.from_env."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer
        self.closed = False
        self.containers = self
        self.there: list[Left] = []

    def list(self, *, all: bool, filters: dict[str, str], ignore_removed: bool) -> list[Left]:  # noqa: A002 - Docker's name
        assert all
        assert ignore_removed, "other processes may remove some meanwhile"
        assert filters == {"label": "zynq-sd-builder.owner"}
        return self.there

    def info(self) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


@pytest.mark.usefixtures("no_daemon")
def test_a_missing_daemon_is_an_error_with_a_hint() -> None:
    with pytest.raises(HostError, match=r"^no Docker daemon answers$") as caught:
        Docker()
    assert caught.value.exit_code == 4
    assert "systemctl start docker" in str(caught.value.hint)


@pytest.mark.usefixtures("no_daemon")
def test_the_command_line_shows_that_error(build_py: CommandLine) -> None:
    answer = build_py("doctor", "--engine", "docker")
    assert answer.status == 4
    first, *_, last = answer.errors.splitlines()
    assert first == "error: no Docker daemon answers"
    assert last.startswith("hint: ")
    assert last.endswith("; or use --engine host")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (DockerException("Error: PermissionError(13, 'Permission denied')"), "this user may not"),
        (APIError("400", explanation="client is too old"), "refuses a request: client is too old"),
        ({"SecurityOptions": ["name=seccomp", "name=rootless"]}, "is rootless"),
    ],
)
def test_a_daemon_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | Exception, message: str
) -> None:
    client = Client(answer)
    monkeypatch.setattr("builder.containers.docker._probe", lambda: None)
    monkeypatch.setattr("builder.containers.docker.docker.from_env", lambda: client)
    with pytest.raises(HostError, match=message):
        Docker()
    assert client.closed


def test_a_daemon_without_access_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def knock() -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builder.containers.docker._probe", knock)
    with pytest.raises(HostError, match="this user may not use the Docker daemon") as caught:
        Docker()
    assert "usermod -aG docker" in str(caught.value.hint)


def test_a_daemon_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client({"SecurityOptions": ["name=seccomp"]})
    monkeypatch.setattr("builder.containers.docker._probe", lambda: None)
    monkeypatch.setattr("builder.containers.docker.docker.from_env", lambda: client)
    with Docker():
        assert not client.closed
    assert client.closed


def dead() -> Owner:
    """Return a process of this user that has ended."""
    with subprocess.Popen(["sleep", "0"]) as ended:
        ended.wait()
    return replace(this_process(), process=ended.pid)


OURS = this_process()


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Docker, Client]]:
    client = Client({})
    monkeypatch.setattr("builder.containers.docker._probe", lambda: None)
    monkeypatch.setattr("builder.containers.docker.docker.from_env", lambda: client)
    with Docker() as opened:
        yield opened, client


@pytest.mark.parametrize(
    ("owner", "goes"),
    [
        (dead(), True),
        (replace(OURS, started=OURS.started - 1), True),  # its number was used again
        (OURS, False),
        (replace(dead(), user=OURS.user + 1), False),
        (replace(dead(), boot="another machine's"), False),
        (replace(dead(), namespace=OURS.namespace + 1), False),
        (replace(OURS, process=-1), False),
    ],
)
def test_only_containers_of_ended_processes_of_this_user_are_removed(
    daemon: tuple[Docker, Client], owner: Owner, *, goes: bool
) -> None:
    docker, client = daemon
    left = Left(owner.label)
    client.there = [left]
    docker.sweep()
    assert left.removed == goes


def test_containers_with_unknown_labels_are_not_removed(daemon: tuple[Docker, Client]) -> None:
    docker, client = daemon
    client.there = [Left("999999999"), Left("{}"), Left("")]
    docker.sweep()
    assert not [left for left in client.there if left.removed]


def test_containers_of_other_machines_are_removed_after_a_day(
    daemon: tuple[Docker, Client],
) -> None:
    docker, client = daemon
    before = replace(OURS, boot="before")
    now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
    wanted = {
        Left(before.label, "exited", "2020-02-01T00:00:00.5Z"): True,
        Left(before.label, "created"): True,
        Left(before.label, "exited", now): False,
        Left(before.label, "running", "2020-02-01T00:00:00.5Z"): False,
        Left(replace(before, user=OURS.user + 1).label, "exited"): False,
    }
    client.there = [*wanted]
    docker.sweep()
    assert [left.removed for left in wanted] == [*wanted.values()]


def test_a_hidden_process_counts_as_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc with hidepid=2 hides other users' processes."""
    with subprocess.Popen(["sleep", "60"]) as alive:
        owner = replace(OURS, process=alive.pid, started=1)
        assert owner.has_ended(), "its process ID was reused"
        monkeypatch.setattr("builder.containers.process_identity._started", lambda _: None)
        assert not owner.has_ended()
        alive.kill()


def test_seccomp_allows_sandboxes_and_forbids_changes_to_the_kernel() -> None:
    (*_, option) = docker._security(ROOT_FILESYSTEM)  # noqa: SLF001 - what the daemon is told
    kind, _, text = option.partition("=")
    profile = json.loads(text)
    (forbidden,) = profile["syscalls"]
    assert (kind, forbidden["action"]) == ("seccomp", "SCMP_ACT_ERRNO")
    assert {"init_module", "kexec_load", "bpf", "open_by_handle_at"} <= {*forbidden["names"]}
    assert not {"mount", "pivot_root", "unshare"} & {*forbidden["names"]}
    assert "no-new-privileges" in docker._security(())  # noqa: SLF001
