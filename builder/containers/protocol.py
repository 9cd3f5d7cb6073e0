# SPDX-License-Identifier: MIT
"""Protocol between a builder in a container and the processes that work for it.

Messages are JSON objects, one per line, over a Unix socket. There are two servers: the broker
(`builder.containers.broker`) outside makes images and runs containers; the worker
(`builder.scheduler.worker_server`), a container with capabilities, runs steps that need them. A
connection carries one request:

    server  {"type": "challenge", "nonce": "..."}
    client  {"type": "signed", "body": "...", "mac": "..."}   the request in JSON, its HMAC-SHA256
    server  {"type": "line", "text": "..."}                   any number of lines
    server  {"type": "result", "value": "..."}                or {"type": "error", ...}

A client that hangs up stops what it requested. Lines have at most MAX_LINE bytes; a message with an
unknown key, or with a value of another type than its model's, is refused.

Servers accept peers of two users only, the caller and root (SO_PEERCRED). The user ID alone does
not tell the builder from compilers of sources that somebody else wrote, which run in the same
container as the same user; and the process ID of a peer in another PID namespace reads as 0. So
requests are also signed with a key that the builder alone has
(`builder.containers.capability_key`). A program of the same user could still take a socket's place
and read requests, but can neither make nor change one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from builder.errors import (
    BuildError,
    CommandError,
    HostError,
    Interrupted,
    StepError,
    UserError,
)

MAX_LINE: Final = 16 << 20
"""Bytes of a message with its newline: a step's state takes less than one MiB."""

_LONGEST_TEXT: Final = 1 << 20
"""Characters of a message's text; a longer line of output becomes several."""

_HANDSHAKE_SECONDS: Final = 10
_CREDENTIALS: Final = struct.Struct("3i")
"""`struct ucred` of unix(7): process, user and group."""

Parsed = TypeVar("Parsed")


class ProtocolError(StepError):
    """A message that breaks the protocol, or a peer that may not send one."""


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("must be an absolute path without ..")
    return path


def _unicode(text: object) -> object:
    return text.encode(errors="replace").decode() if isinstance(text, str) else text


EntryKey = Annotated[str, Field(pattern=r"^[\w-]+$")]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Text = Annotated[str, BeforeValidator(_unicode)]
"""Text for people: characters that UTF-8 cannot encode are replaced."""


class Message(BaseModel):
    """Base of all messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Challenge(Message):
    """A server's first message. The nonce makes each signature valid for one connection."""

    type: Literal["challenge"] = "challenge"
    nonce: str


class Signed(Message):
    """A request and its signature."""

    type: Literal["signed"] = "signed"
    body: str
    mac: str


class RequestedMount(Message):
    """A file or directory that the builder sees, for a container."""

    source: AbsolutePath
    target: AbsolutePath
    read_only: bool


class ImageRequest(Message):
    """Request for an image that the broker knows by name, based on a distribution."""

    type: Literal["image"] = "image"
    name: str
    distribution: str
    offline: bool


class RunRequest(Message):
    """Request to run a command in a container without capabilities, as the caller."""

    type: Literal["run"] = "run"
    image: str
    argv: tuple[str, ...] = Field(min_length=1)
    mounts: tuple[RequestedMount, ...]
    environment: dict[str, str]
    cwd: AbsolutePath
    network: bool
    secret: tuple[str, ...]


class WorkRequest(Message):
    """Request to run the container with capabilities, the worker."""

    type: Literal["work"] = "work"


class WatchRequest(Message):
    """Request to keep the connection open until the server ends."""

    type: Literal["watch"] = "watch"


class StepRequest(Message):
    """Request to run a step in the worker.

    step: the step's class and state (`builder.scheduler.step_state`).
    inputs: keys of the entries in the store, by the names of the step's parents.
    output, log: directory and file to write to.
    root: identity of the root filesystem that the step works on, if it does.
    """

    type: Literal["step"] = "step"
    step: dict[str, Any]
    inputs: dict[str, EntryKey]
    output: AbsolutePath
    log: AbsolutePath
    store: AbsolutePath
    root: str | None
    offline: bool


class Line(Message):
    """A line of a command's output, or of a step's progress."""

    type: Literal["line"] = "line"
    text: Text


class LogText(Message):
    """Text for the step's log alone."""

    type: Literal["log"] = "log"
    text: Text


class Result(Message):
    """The last answer to a request that succeeded."""

    type: Literal["result"] = "result"
    value: str = ""


_ERRORS: Final[dict[str, type[BuildError]]] = {
    each.__name__: each for each in (CommandError, HostError, Interrupted, StepError, UserError)
}


class Failure(Message):
    """The last answer to a request that failed. For the kind `bug` the message is a traceback."""

    type: Literal["error"] = "error"
    kind: Literal["CommandError", "HostError", "Interrupted", "StepError", "UserError", "bug"]
    message: Text
    hint: Text | None = None
    details: tuple[Text, ...] = ()
    replay: Text = ""
    status: int = 0

    @classmethod
    def of(cls, error: BuildError) -> Failure:
        """Return the message for an error; one of a subclass becomes one of its known base."""
        named = (base.__name__ for base in type(error).__mro__)
        facts: dict[str, Any] = {
            "kind": next((name for name in named if name in _ERRORS), "StepError"),
            "message": error.message,
            "hint": error.hint,
            "details": error.details,
        }
        if isinstance(error, CommandError):
            facts |= {"replay": error.replay, "status": error.status}
        return cls(**facts)

    def error(self) -> Exception:
        """Return the error that the message describes."""
        if self.kind == "bug":
            return RuntimeError(self.message)
        if self.kind == "CommandError":
            return CommandError(
                self.message,
                replay=self.replay,
                status=self.status,
                hint=self.hint,
                details=self.details,
            )
        return _ERRORS[self.kind](self.message, hint=self.hint, details=self.details)


BrokerRequest: TypeAlias = ImageRequest | RunRequest | WorkRequest | WatchRequest
Answer: TypeAlias = Line | LogText | Result

BROKER_REQUESTS: Final[TypeAdapter[BrokerRequest]] = TypeAdapter(
    Annotated[BrokerRequest, Field(discriminator="type")]
)
STEP_REQUESTS: Final = TypeAdapter(StepRequest)
_CHALLENGES: Final[TypeAdapter[Challenge | Failure]] = TypeAdapter(
    Annotated[Challenge | Failure, Field(discriminator="type")]
)
_SIGNED: Final = TypeAdapter(Signed)
_ANSWERS: Final[TypeAdapter[Answer | Failure]] = TypeAdapter(
    Annotated[Answer | Failure, Field(discriminator="type")]
)


class Channel:
    """One end of a connection. Use it as a context manager."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb")
        self._sending = threading.Lock()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()  # or closing would wait for a thread that reads
        self._reader.close()
        self._connection.close()

    def kill(self) -> None:
        """Hang up: both ends read the end of the connection, whatever they wait for."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def peer_user(self) -> int:
        """Return the user ID of the process at the other end (SO_PEERCRED of unix(7))."""
        credentials = self._connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        _, user, _ = _CREDENTIALS.unpack(credentials)
        return int(user)

    def set_timeout(self, seconds: float | None) -> None:
        """Set how long to wait for a message."""
        self._connection.settimeout(seconds)

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            ProtocolError: it is too long.
            OSError: the other end hung up.
        """
        line = message.model_dump_json().encode() + b"\n"
        if len(line) > MAX_LINE:
            raise ProtocolError(f"a message has {len(line)} bytes, more than {MAX_LINE}")
        with self._sending:
            self._connection.sendall(line)

    def send_lines(self, text: str) -> None:
        """Send a line of output, in pieces if it is long; do nothing if the other end hung up."""
        for start in range(0, max(len(text), 1), _LONGEST_TEXT):
            with suppress(OSError):
                self.send(Line(text=text[start : start + _LONGEST_TEXT]))

    def finish(self, last: Result | Failure) -> None:
        """Send the last answer; do nothing if the other end hung up."""
        with suppress(OSError):
            self.send(last)

    def receive(self, models: TypeAdapter[Parsed]) -> Parsed | None:
        """Return the next message; None if the other end hung up.

        Raises:
            ProtocolError: it is too long, or not one of `models`.
        """
        line = self._reader.readline(MAX_LINE + 1)
        if len(line) > MAX_LINE:
            raise ProtocolError(f"a message has more than {MAX_LINE} bytes")
        if not line.endswith(b"\n"):
            return None
        return parse(models, line)

    def wait(self) -> None:
        """Wait until the other end hangs up."""
        with suppress(OSError, ValueError):
            self._reader.read(1)


def parse(models: TypeAdapter[Parsed], text: str | bytes) -> Parsed:
    """Return the message in a JSON text.

    Raises:
        ProtocolError: it is not one of `models`. The error does not repeat values: some are secret.
    """
    try:
        return models.validate_json(text)
    except ValidationError as error:
        found = [
            ": ".join(filter(None, [".".join(map(str, each["loc"])), each["msg"]]))
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise ProtocolError("a message is malformed", details=found) from None


def exchange(channel: Channel, request: Message, key: bytes) -> Iterator[Answer]:
    """Send a request, and yield its answers; the last one is the result.

    Raises:
        BuildError: the request failed.
        RuntimeError: it met a bug.
        OSError: the server hung up without a result.
    """
    challenge = channel.receive(_CHALLENGES)
    if isinstance(challenge, Failure):
        raise challenge.error()
    if challenge:
        body = request.model_dump_json()
        channel.send(Signed(body=body, mac=_mac(key, challenge.nonce, body)))
        while answer := channel.receive(_ANSWERS):
            if isinstance(answer, Failure):
                raise answer.error()
            yield answer
            if isinstance(answer, Result):
                return
    raise ConnectionResetError("the server hung up before the result")


def accept_request(
    channel: Channel, models: TypeAdapter[Parsed], *, key: bytes, users: Iterable[int]
) -> Parsed | None:
    """Return the request that a client sends; None if it hung up.

    Raises:
        ProtocolError: the peer is none of `users`, has not the key, or the request is malformed.
        OSError: it does not come in time.
    """
    user = channel.peer_user()
    if user not in users:
        raise ProtocolError(f"user {user} may not send requests")
    channel.set_timeout(_HANDSHAKE_SECONDS)
    nonce = secrets.token_hex(32)
    channel.send(Challenge(nonce=nonce))
    signed = channel.receive(_SIGNED)
    channel.set_timeout(None)
    if signed is None:
        return None
    if not hmac.compare_digest(signed.mac.encode(), _mac(key, nonce, signed.body).encode()):
        raise ProtocolError("the request is not signed with the builder's key")
    return parse(models, signed.body)


def _mac(key: bytes, nonce: str, body: str) -> str:
    return hmac.new(key, f"{nonce}\n{body}".encode(), hashlib.sha256).hexdigest()
