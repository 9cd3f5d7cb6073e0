# SPDX-License-Identifier: MIT
"""Messages between a builder in a container and the processes that work for it."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.containers import protocol
from builder.containers.protocol import (
    BROKER_REQUESTS,
    STEP_REQUESTS,
    BrokerRequest,
    Channel,
    Failure,
    ImageRequest,
    Line,
    ProtocolError,
    Result,
    RunRequest,
    accept_request,
    exchange,
    parse,
)
from builder.errors import (
    BuildError,
    CommandError,
    HostError,
    Interrupted,
    StepError,
    UserError,
)

KEY = b"key"
IMAGE = ImageRequest(name="tool", distribution="d", offline=False)


class SpecialError(UserError):
    """An error that the protocol has no name for."""


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Channel]]:
    """A client's socket and the server's channel."""
    client, server = socket.socketpair()
    with client, Channel(server) as channel:
        yield client, channel


def accepted(
    ends: tuple[socket.socket, Channel], *lines: bytes, users: set[int] | None = None
) -> BrokerRequest | None:
    """Return the request that a server accepts after these lines."""
    client, channel = ends
    for line in lines:
        client.sendall(line)
    client.shutdown(socket.SHUT_WR)
    return accept_request(
        channel, BROKER_REQUESTS, key=KEY, users={os.getuid()} if users is None else users
    )


def test_a_request_arrives_and_its_answers_return() -> None:
    here, there = socket.socketpair()
    received: list[BrokerRequest | None] = []

    def serve() -> None:
        with Channel(there) as server:
            received.append(accept_request(server, BROKER_REQUESTS, key=KEY, users={os.getuid()}))
            server.send_lines("a\udcff")
            server.finish(Result(value="tag"))

    serving = threading.Thread(target=serve)
    serving.start()
    with Channel(here) as client:
        answers = [*exchange(client, IMAGE, KEY)]
    serving.join()
    assert received == [IMAGE]
    assert answers == [Line(text="a?"), Result(value="tag")]


def test_a_signature_is_for_one_connection(ends: tuple[socket.socket, Channel]) -> None:
    here, there = socket.socketpair()
    with here, Channel(there) as client:
        here.sendall(b'{"type": "challenge", "nonce": "another"}\n')
        here.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            [*exchange(client, IMAGE, KEY)]
        signed = here.makefile("rb").readline()
    with pytest.raises(ProtocolError, match="is not signed with the builder's key"):
        accepted(ends, signed)


@pytest.mark.parametrize(
    ("line", "details"),
    [
        (b"\n", "EOF"),
        (b"no JSON\n", "expected"),
        (b"\xff\n", ""),
        (b"[]\n", "should be an object"),
        (b'{"type": "signed"}\n', "body: Field required"),
        (b'{"type": "signed", "body": "", "mac": "", "more": 1}\n', "more: Extra inputs"),
        (b'{"type": "signed", "body": 7, "mac": ""}\n', "body: Input should be a valid string"),
    ],
)
def test_a_malformed_line_is_refused(
    ends: tuple[socket.socket, Channel], line: bytes, details: str
) -> None:
    with pytest.raises(ProtocolError, match="a message is malformed") as caught:
        accepted(ends, line)
    assert details in "\n".join(caught.value.details)


def test_a_line_that_is_too_long_is_refused(
    ends: tuple[socket.socket, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MAX_LINE", 1000)
    with pytest.raises(ProtocolError, match="a message has more than 1000 bytes"):
        accepted(ends, b" " * 1001)
    with pytest.raises(ProtocolError, match="more than 1000"):
        ends[1].send(Line(text="x" * 1000))


def test_a_long_line_of_output_becomes_several(
    ends: tuple[socket.socket, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_LONGEST_TEXT", 4)
    ends[1].send_lines("abcdefghi")
    ends[1].send_lines("")
    ends[1].kill()
    sent = ends[0].makefile("rb").read().splitlines()
    assert [json.loads(line)["text"] for line in sent] == ["abcd", "efgh", "i", ""]


@pytest.mark.parametrize("lines", [(), (b'{"type": "sig',)])
def test_a_peer_that_hangs_up_requests_nothing(
    ends: tuple[socket.socket, Channel], lines: tuple[bytes, ...]
) -> None:
    assert accepted(ends, *lines) is None


def test_a_foreign_peer_is_refused(ends: tuple[socket.socket, Channel]) -> None:
    with pytest.raises(ProtocolError, match=f"user {os.getuid()} may not send requests"):
        accepted(ends, users={os.getuid() + 1})


def run_request(**more: Any) -> str:
    """Return a request to run a command, with some values replaced."""
    request = {
        "type": "run",
        "image": "tools",
        "argv": ["true"],
        "mounts": [],
        "environment": {},
        "cwd": "/",
        "network": False,
        "secret": [],
    }
    return json.dumps({**request, **more})


def test_a_request_has_the_types_of_its_model() -> None:
    mount = {"source": "/a", "target": "/b", "read_only": True}
    request = parse(BROKER_REQUESTS, run_request(mounts=[mount]))
    assert isinstance(request, RunRequest)
    assert request.mounts[0].source == Path("/a")


@pytest.mark.parametrize(
    ("more", "details"),
    [
        ({"type": "sudo"}, "does not match any of the expected tags"),
        ({"capabilities": ["SYS_ADMIN"]}, "run.capabilities: Extra inputs are not permitted"),
        ({"user": "0:0"}, "run.user: Extra inputs are not permitted"),
        ({"argv": []}, "run.argv: "),
        ({"argv": "true"}, "run.argv: "),
        ({"network": "yes"}, "run.network: "),
        ({"cwd": "here"}, "run.cwd: Value error, must be an absolute path"),
        ({"mounts": [{"source": "/a/../b", "target": "/", "read_only": True}]}, "without .."),
        ({"mounts": [{"source": "/a", "target": "/"}]}, "read_only: Field required"),
    ],
)
def test_an_invalid_request_is_refused(more: dict[str, object], details: str) -> None:
    with pytest.raises(ProtocolError, match="a message is malformed") as caught:
        parse(BROKER_REQUESTS, run_request(**more))
    assert details in "\n".join(caught.value.details)


def test_errors_do_not_repeat_values() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(STEP_REQUESTS, '{"step": {"password": "hunter2"}, "offline": "hunter2"}')
    assert caught.value.details
    assert "hunter2" not in "\n".join([str(caught.value), *caught.value.details])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CommandError("a", replay="b", status=3, hint="c", details=["d", "e"]), CommandError),
        (HostError("a", hint="b"), HostError),
        (Interrupted("a"), Interrupted),
        (StepError("a", details=["b"]), StepError),
        (UserError("a"), UserError),
        (SpecialError("a", hint="b"), UserError),
        (BuildError("a"), StepError),
    ],
)
def test_an_error_is_the_same_at_the_other_end(error: BuildError, kind: type[BuildError]) -> None:
    sent = Failure.of(error).model_dump_json()
    there = Failure.model_validate_json(sent).error()
    assert type(there) is kind
    assert vars(there) == vars(error)


def test_a_bug_is_no_error_of_the_user() -> None:
    there = Failure(kind="bug", message="Traceback: here").error()
    assert isinstance(there, RuntimeError)
    assert str(there) == "Traceback: here"
