# SPDX-License-Identifier: MIT
"""Downloads: bounded in size and time, tried again and continued, over as soon as all is to stop."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

from builder.containers.redaction import without_passwords
from builder.errors import Interrupted, StepError
from builder.network.response import Head, Response, ResponseError
from builder.sandbox.process import Processes
from builder.spec.texts import format_size

_PIECE = 1 << 20
_LOCAL = "file://"
_NUMBER = "[0-9]{1,18}"


class DownloadError(StepError):
    """A file cannot be had; `why` says so without its URL."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"{without_passwords(url)} cannot be had: {why}", hint="check the network and the URL"
        )
        self.why = why


class TooLargeError(DownloadError):
    """A file is larger than what is taken."""


class _TooLarge(ResponseError):
    def __init__(self, most: int) -> None:
        super().__init__(f"it is larger than {format_size(most)}", passing=False)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a download.

    size: bytes; more are never taken.
    seconds: how long it may take, with all tries.
    rate: bytes per second that have to come, on the average of every `window` seconds.
    silence: seconds that a server may say nothing.
    waits: seconds before each further try.
    """

    size: int = 8 << 30
    seconds: float = 6 * 3600
    rate: float = 1 << 10
    window: float = 60
    silence: float = 30
    waits: Sequence[float] = (2, 10)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file that was downloaded: its URL after all redirects, its size in bytes, its SHA-256."""

    url: str
    size: int
    sha256: str


def fetch(
    url: str,
    into: IO[bytes] | None = None,
    *,
    processes: Processes,
    limits: Limits | None = None,
    headers: Mapping[str, str] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Fetched:
    """Fetch a file by http, https or file; write it into a file that is open, if there is one.

    What may pass is tried again: no connection, one that breaks off or is too slow, and the answers
    408, 429 and 5xx. A further try goes on where the last one ended if the server has the same file
    still. What was written is the whole file only if this returns.

    Args:
        url: where it is.
        into: a file in which one can seek.
        processes: they are told to stop when the download is to.
        limits: its bounds.
        headers: further headers of the request.
        say: called with a line before each further try.

    Raises:
        DownloadError: it cannot be had, or not within the limits (TooLargeError).
        StepError: it cannot be written.
        Interrupted: everything has been told to stop.
    """
    received = _Received(into)
    limits = limits or Limits()
    try:
        if url.startswith(_LOCAL):
            _copy(Path(url.removeprefix(_LOCAL)), received, limits, processes)
            return received.fetched(url)
        download = _Download(url, received, limits, headers or {}, say)
        with processes.registered(download):
            return download.run()
    except _TooLarge as trouble:
        raise TooLargeError(url, str(trouble)) from trouble
    except ResponseError as trouble:
        raise DownloadError(url, str(trouble)) from trouble


class _Received:
    """The part received so far: `size` bytes are kept, `ever` counts discarded ones too."""

    def __init__(self, into: IO[bytes] | None) -> None:
        self._into = into
        self._sum = hashlib.sha256()
        self.size = 0
        self.ever = 0

    def add(self, piece: bytes, most: int) -> None:
        """Take a piece.

        Raises:
            Trouble: with it there is more than that.
            StepError: it cannot be written.
        """
        self.size += len(piece)
        self.ever += len(piece)
        if self.size > most:
            raise _TooLarge(most)
        self._sum.update(piece)
        if self._into:
            with _writing():
                self._into.write(piece)

    def restart(self) -> None:
        """Throw away what has come."""
        self._sum = hashlib.sha256()
        self.size = 0
        if self._into:
            with _writing():
                self._into.seek(0)
                self._into.truncate()

    def fetched(self, url: str) -> Fetched:
        """Return what it is, now that it is all.

        Raises:
            StepError: it cannot be written.
        """
        if self._into:
            with _writing():
                self._into.flush()
        return Fetched(url=url, size=self.size, sha256=self._sum.hexdigest())


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StepError(f"a download cannot be written: {error.strerror}") from error


class _Download:
    """A download by http, with all its tries."""

    def __init__(
        self,
        url: str,
        received: _Received,
        limits: Limits,
        headers: Mapping[str, str],
        say: Callable[[str], object],
    ) -> None:
        self._url = url
        self._received = received
        self._limits = limits
        self._headers = headers
        self._say = say
        self._stopped = threading.Event()
        self._answer: Response | None = None
        self._version: str | None = None
        self._ends = monotonic() + limits.seconds
        self._window = (0.0, 0)

    def kill(self) -> None:
        """Have it end, at once."""
        self._stopped.set()
        if answer := self._answer:
            answer.wake()

    def run(self) -> Fetched:
        """Fetch the file.

        Raises:
            Trouble: it cannot be had.
            Interrupted: it was killed.
        """
        for wait in self._limits.waits:
            try:
                return self._try()
            except ResponseError as trouble:
                if not trouble.passing:
                    raise
                self._say(f"{without_passwords(self._url)}: {trouble}; the next try is in {wait} s")
            if self._stopped.wait(wait):
                raise Interrupted("interrupted")
        return self._try()

    def _try(self) -> Fetched:
        """Fetch what is still missing."""
        answer = Response(self._url, self._request(), silence=self._limits.silence)
        self._answer = answer
        self._begin_window()
        try:
            head = self._next(answer)
            assert isinstance(head, Head), "it comes first"
            size = self._begin(head)
            while (piece := self._next(answer)) and isinstance(piece, bytes):
                self._received.add(piece, self._limits.size)
        finally:
            answer.give_up()
        if size is not None and self._received.size != size:
            why = f"{self._received.size} of {size} bytes came"
            raise ResponseError(why, passing=self._received.size < size)
        return self._received.fetched(head.url)

    def _request(self) -> dict[str, str]:
        """Return the headers of the request: for all, or for what is missing."""
        headers = {**self._headers, "Accept-Encoding": "identity"}
        if not self._version:
            self._received.restart()
        if self._received.size and self._version:
            headers |= {"Range": f"bytes={self._received.size}-", "If-Range": self._version}
        return headers

    def _begin(self, head: Head) -> int | None:
        """Look at how an answer begins; return the size of the whole file if that is told.

        Raises:
            Trouble: it is not what was asked for.
        """
        had, version = self._received.size, _version(head)
        if head.status == 206 and had:
            place = re.match(
                rf"bytes {had}-\d+/({_NUMBER}|\*)$", head.headers.get("content-range", "")
            )
            if place and version == self._version:
                return None if place[1] == "*" else int(place[1])
        if head.status == 200:
            self._received.restart()
            self._version = version
            told = head.headers.get("content-length", "")
            # RFC 9112, 6.3: it means nothing where the body comes in chunks.
            if "transfer-encoding" in head.headers or not re.fullmatch(_NUMBER, told):
                return None
            if int(told) > self._limits.size:
                raise _TooLarge(self._limits.size)
            return int(told)
        passing = head.status in {408, 429} or head.status >= 500
        if had and head.status in {206, 416}:
            # It has another file by now, or counts otherwise than we do: all is asked for.
            self._version, passing = None, True
        raise ResponseError(f"{head.status} {head.reason}".strip(), passing=passing)

    def _next(self, answer: Response) -> Head | bytes:
        """Wait for what comes next.

        Raises:
            Trouble: there is none, or it takes too long.
            Interrupted: the download was killed.
        """
        while not self._stopped.is_set():
            item = answer.next(self._patience())
            if item is not None:
                return item
        raise Interrupted("interrupted")

    def _patience(self) -> float:
        """Return for how many seconds the next piece may be waited for.

        Raises:
            Trouble: it took too long already.
        """
        limits, now = self._limits, monotonic()
        if now >= self._ends:
            raise ResponseError(f"it takes longer than {limits.seconds:g} s", passing=False)
        due, before = self._window
        if now >= due:
            if self._received.ever - before < limits.rate * limits.window:
                slow = f"less than {limits.rate:g} bytes per second came for {limits.window:g} s"
                raise ResponseError(slow, passing=True)
            due = self._begin_window()
        return min(due, self._ends) - now

    def _begin_window(self) -> float:
        """Begin to count what comes; return when enough has to have come."""
        self._window = (monotonic() + self._limits.window, self._received.ever)
        return self._window[0]


def _version(head: Head) -> str | None:
    """Return what tells a file from its other versions, if the server says it.

    Only a strong validator proves that bytes are the same (RFC 9110, 8.8.1). A time counts whole
    seconds, but it comes with a checksum of ours.
    """
    tag = head.headers.get("etag", "")
    return tag if tag.startswith('"') else head.headers.get("last-modified")


def _copy(path: Path, received: _Received, limits: Limits, processes: Processes) -> None:
    """Copy a file of this machine.

    Raises:
        Trouble: it is no regular file, or cannot be read.
        Interrupted: everything has been told to stop.
    """
    try:
        # What is no file is not even opened: that alone makes some devices do something.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ResponseError("it is not a regular file", passing=False)
        # By now it may be another one; a pipe would not be opened before somebody writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ResponseError("it is not a regular file", passing=False)
            while piece := file.read(_PIECE):
                if processes.stopped:
                    raise Interrupted("interrupted")
                received.add(piece, limits.size)
    except OSError as error:
        raise ResponseError(error.strerror or str(error), passing=False) from error
