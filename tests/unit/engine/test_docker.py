# SPDX-License-Identifier: MIT
"""The Docker daemon, where there is none that can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, DockerException

from builder.engine.docker import Docker
from builder.errors import HostError
from tests.unit.command_line import CommandLine


class Client:
    """What docker.from_env returns."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer
        self.closed = False

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
def test_without_a_daemon_it_says_what_to_do() -> None:
    with pytest.raises(HostError, match=r"^no Docker daemon answers$") as caught:
        Docker()
    assert caught.value.exit_code == 4
    assert "systemctl start docker" in str(caught.value.hint)


@pytest.mark.usefixtures("no_daemon")
def test_the_command_line_says_so_too(build_py: CommandLine) -> None:
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
        (APIError("400", explanation="client is too old"), "refuses: client is too old"),
        ({"SecurityOptions": ["name=seccomp", "name=rootless"]}, "is rootless"),
    ],
)
def test_a_daemon_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | Exception, message: str
) -> None:
    client = Client(answer)
    monkeypatch.setattr("builder.engine.docker._knock", lambda: None)
    monkeypatch.setattr("builder.engine.docker.docker.from_env", lambda: client)
    with pytest.raises(HostError, match=message):
        Docker()
    assert client.closed


def test_a_daemon_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def knock() -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builder.engine.docker._knock", knock)
    with pytest.raises(HostError, match="this user may not use the Docker daemon") as caught:
        Docker()
    assert "usermod -aG docker" in str(caught.value.hint)


def test_a_daemon_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client({"SecurityOptions": ["name=seccomp"]})
    monkeypatch.setattr("builder.engine.docker._knock", lambda: None)
    monkeypatch.setattr("builder.engine.docker.docker.from_env", lambda: client)
    with Docker():
        assert not client.closed
    assert client.closed
